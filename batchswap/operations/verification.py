"""Compare result files with the ledger: size, SHA-256 and signature. They are read in parallel, and not changed."""

import os
import sqlite3
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger import queries, signatures
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.queries import Stored
from batchswap.ledger.rows import groups
from batchswap.ledger.transitions import find_task
from batchswap.operations.file_signatures import SignatureReader, problem_of, shown
from batchswap.provenance.verification import Provenance, SignatureState
from batchswap.states import State

_AT_ONCE = 64
"""Files that wait for a thread at most."""
T = TypeVar("T")
R = TypeVar("R")


class FileFinding(msgspec.Struct, frozen=True):
    """What is wrong with a file: `problem` is missing, changed, unreadable, unknown, or "" for nothing.

    `task` is batch/key, "" for a file that the ledger does not know.
    """

    task: str
    path: str
    problem: str
    message: str = ""
    bytes: int = 0
    sha256: str = ""
    signature: Provenance | None = None


_WORST_FIRST = ("changed", "unreadable", "missing")


class Verification(msgspec.Struct):
    """The outcome. `sound` has the path of each result that is as recorded, by task id, if it was asked for.

    `deleted` counts results whose file may be deleted, and was: rejected ones, and those without a valid release.
    `copies` counts files that the ledger knows under another name only. `signatures` counts the files by the
    state of their signature, and `labelled` those that are labelled as synthetic.
    """

    checked: int = 0
    bytes: int = 0
    problems: list[FileFinding] = []
    deleted: int = 0
    copies: int = 0
    sound: dict[int, str] = {}
    signatures: dict[str, int] = {}
    labelled: int = 0


class Verifier:
    """Verifies results of a ledger. `show` gets the number of files that are done, and of all."""

    def __init__(
        self, db: sqlite3.Connection, out: Path, show: Callable[[int, int], None], signatures: SignatureReader
    ) -> None:
        self._db, self._here, self._show, self._signatures = db, str(out.absolute()), show, signatures
        self._real = cache(os.path.realpath)

    def verify(self, paths: Iterable[Path], *, keep: bool = False) -> Verification:
        """Verify the results in these files and folders, and those that should be there; without `paths`, all results.

        `keep`: return the sound ones. Raise UsageError for a path that does not exist.
        """
        places = [_place(path) for path in paths]
        done, seen = Verification(problems=[], sound={}, signatures={}), set[str]()
        total = sum(1 for _ in self._chosen(places)) if places else queries.counts(self._db)[State.DONE]
        with ThreadPoolExecutor() as threads:
            for known, found in _in_parallel(threads, self._compare, self._chosen(places)):
                self._count(done, known, found, keep=keep)
                if places:
                    seen.update(self._real_paths(known))
                self._show(done.checked, total)
            others = [path for path in _files_in(places) if path not in seen]
            self._look_up(threads, others, done)
        return done

    def _chosen(self, places: list[str]) -> Iterator[Stored]:
        known = queries.all_stored(self._db)
        return (each for each in known if self._is_in(each, places)) if places else known

    def _is_in(self, known: Stored, places: list[str]) -> bool:
        paths = self._real_paths(known)
        return any(path == place or path.startswith(f"{place.rstrip('/')}/") for path in paths for place in places)

    def _real_paths(self, known: Stored) -> list[str]:
        return [f"{self._real(folder)}/{known.file}" for folder in known.folders(self._here)]

    def _compare(self, known: Stored) -> FileFinding:
        """Return the first place of the file that is as recorded, else what is wrong with it."""
        found = []
        for path in known.paths(self._here):
            problem, message = compare(path, known)
            name = f"{known.batch}/{known.key}"
            if not problem:
                return FileFinding(name, path, "", "", known.size, signature=self._signatures.read(path))
            found.append(FileFinding(name, path, problem, message, known.size))
        return next(each for kind in _WORST_FIRST for each in found if each.problem == kind)

    def _count(self, done: Verification, known: Stored, found: FileFinding, *, keep: bool) -> None:
        done.checked += 1
        if found.signature is not None and not found.problem:
            found = self._judge(known, found, found.signature)
            _count_signature(done, found)
        if not found.problem:
            done.bytes += found.bytes
            if keep:
                done.sound[known.id] = found.path
        elif found.problem == "missing" and (known.is_rejected or known.is_withdrawn):
            done.deleted += 1
        else:
            done.problems.append(found)

    def _judge(self, known: Stored, found: FileFinding, signature: Provenance) -> FileFinding:
        """Return the finding with the problem of its signature, if there is one."""
        words = problem_of(signature, signatures.find_record(self._db, known.id), find_task(self._db, known.id).consent)
        return msgspec.structs.replace(found, problem="signature", message=words) if words else found

    def _look_up(self, threads: ThreadPoolExecutor, paths: list[str], done: Verification) -> None:
        """Look for files that are no stored results: by their content, they may be copies of some."""
        hashed = [found for _, found in _in_parallel(threads, self._hash, iter(paths))]
        for some in groups(hashed):
            known = queries.with_content(self._db, [each.sha256 for each in some if each.sha256])
            for each in some:
                done.checked += 1
                _count_signature(done, each)
                if each.problem or each.sha256 not in known:
                    done.problems.append(each if each.problem else _unknown(each))
                else:
                    done.copies += 1
                    done.bytes += each.bytes

    def _hash(self, path: str) -> FileFinding:
        return hashed(path, self._signatures)


def verify_alone(paths: Iterable[Path], reader: SignatureReader, show: Callable[[int, int], None]) -> Verification:
    """Verify files by their signature alone, where there is no ledger. Raise UsageError for a path that is missing."""
    done, files = Verification(problems=[], sound={}, signatures={}), list(_files_in([_place(path) for path in paths]))

    def work(path: str) -> FileFinding:
        return hashed(path, reader)

    with ThreadPoolExecutor() as threads:
        for _, found in _in_parallel(threads, work, iter(files)):
            done.checked += 1
            _count_signature(done, found)
            is_intact = found.signature is not None and found.signature.is_intact
            if not found.problem and is_intact:
                done.bytes += found.bytes
            else:
                words = found.message if found.problem else _signature_words(found)
                done.problems.append(
                    msgspec.structs.replace(found, problem=found.problem or "signature", message=words)
                )
            show(done.checked, len(files))
    return done


def _count_signature(done: Verification, found: FileFinding) -> None:
    if found.signature is not None:
        done.signatures[found.signature.state] = done.signatures.get(found.signature.state, 0) + 1
        done.labelled += bool(found.signature.is_labelled)


def _signature_words(found: FileFinding) -> str:
    if found.signature is None:
        return "has no signature that can be read"
    words = shown(found.signature)
    return f"is {words}" if found.signature.state in (SignatureState.NONE, SignatureState.DAMAGED) else words


def _unknown(found: FileFinding) -> FileFinding:
    words = "is not a result that this ledger knows"
    if found.signature is not None and found.signature.state is not SignatureState.NONE:
        words += f"; {shown(found.signature)}"
    return msgspec.structs.replace(found, problem="unknown", message=words)


def compare(path: str, known: Stored) -> tuple[str, str]:
    """Return what is wrong with the file of a result, as a word and in words; twice "" for nothing."""
    try:
        seen = os.stat(path)  # noqa: PTH116 - many Path objects would be slow
        if not stat.S_ISREG(seen.st_mode):
            return "changed", "is not a file any more"
        if seen.st_size != known.size:
            return "changed", f"has {seen.st_size:,} bytes instead of {known.size:,}"
        if hash_file(Path(path)) != known.sha256:
            return "changed", "has another content than the stored result (its SHA-256 differs)"
    except (FileNotFoundError, NotADirectoryError):
        return "missing", "is missing"
    except OSError as error:
        return "unreadable", f"cannot be read ({error.strerror})"
    return "", ""


def hashed(path: str, reader: SignatureReader) -> FileFinding:
    """Return the content of a file, and its signature."""
    try:
        size, sha256 = Path(path).stat().st_size, hash_file(Path(path))
        return FileFinding("", path, "", "", size, sha256, reader.read(path))
    except OSError as error:
        return FileFinding("", path, "unreadable", f"cannot be read ({error.strerror})")


def _place(path: Path) -> str:
    """Return the path without symlinks, as the files of results are compared. Raise UsageError."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder")
    return os.path.realpath(path)


def _files_in(places: Iterable[str]) -> Iterator[str]:
    """Yield the files in these places, each once. Hidden ones are left out: parts of downloads are among them."""
    seen = set[str]()
    for place in places:
        if os.path.isfile(place):  # noqa: PTH113 - real paths are texts here
            found: Iterable[str] = [place]
        else:
            found = (
                os.path.join(folder, name)  # noqa: PTH118
                for folder, _, names in os.walk(place)
                for name in sorted(names)
                if not name.startswith(".")
            )
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def _in_parallel(threads: ThreadPoolExecutor, work: Callable[[T], R], items: Iterator[T]) -> Iterator[tuple[T, R]]:
    """Yield each item with its outcome, in order. Only some items are read ahead."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        waiting.append((item, threads.submit(work, item)))
        if len(waiting) == _AT_ONCE:
            first, outcome = waiting.popleft()
            yield first, outcome.result()
    for item, outcome in waiting:
        yield item, outcome.result()
