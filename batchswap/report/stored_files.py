"""Check whether the results of done tasks, and the local files they were made from, are still as they were stored.

Only size and time of a file are compared. A file with the same size and a later time is read, within a limit.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger import queries
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import Changed
from batchswap.ledger.queries import Stored
from batchswap.report.formatting import plural, safe
from batchswap.report.next_commands import command
from batchswap.settings import Settings
from batchswap.states import State

MOST = 50_000
"""Results, and input files, that are checked: the latest ones."""
NAMED = 3
_READ = 256_000_000
"""Bytes that are read in all. A file counts for at least `_LEAST`."""
_LEAST = 100_000
_LATE = 2.0
"""Seconds by which a file may be later than its record: some file systems round to two seconds."""


class StoredFilesCheck(msgspec.Struct):
    """The findings. `gone`, `changed` and `unreadable` are results; `inputs` are input files with new content."""

    done: int = 0
    looked_at: int = 0
    is_here: bool = False
    """Whether any result is in --out."""
    is_elsewhere: bool = False
    """Whether any result is only where an earlier run stored it."""
    gone: list[Stored] = []
    changed: list[Stored] = []
    unreadable: list[Stored] = []
    folders: dict[str, int] = {}
    """Missing folders, with the number of results that were stored in them."""
    inputs: list[Changed] = []

    def to_json(self) -> dict[str, Any]:
        names = ("gone", "changed", "unreadable")
        return {
            "looked_at": self.looked_at,
            **{name: [f"{each.batch}/{each.key}" for each in getattr(self, name)] for name in names},
            "inputs_changed": [msgspec.structs.asdict(each) for each in self.inputs],
        }


class Reader:
    """Hashes files up to a limit of bytes. Raises OSError for every file after that."""

    def __init__(self, most: int = _READ) -> None:
        self._left = most

    def hash(self, path: Path) -> str:
        size = max(_LEAST, path.stat().st_size)
        if size > self._left:
            raise OSError("not read: too much")
        self._left -= size
        from batchswap.ledger.enrolment.input_files import hash_file  # noqa: PLC0415 - `status` seldom reads a file

        return hash_file(path)


def look(db: sqlite3.Connection, batches: Sequence[str], out: Path, most: int = MOST) -> StoredFilesCheck:
    """Check the latest results of these batches, and the files that they were made from."""
    found = StoredFilesCheck(
        queries.counts_in(db, batches)[State.DONE], gone=[], changed=[], unreadable=[], folders={}, inputs=[]
    )
    reader = Reader()
    if not found.done:
        return found
    here = str(out.absolute())
    for each in queries.stored(db, batches, most):
        found.looked_at += 1
        _look_at(each, here, found, reader)
    found.inputs = list(input_files.changed(db, batches, reader.hash, most))
    return found


def _look_at(each: Stored, here: str, found: StoredFilesCheck, reader: Reader) -> None:
    kinds = []
    for path in each.paths(here):
        kind = kind_of(path, each, reader)
        if kind == "unchanged":
            is_here = path == f"{here}/{each.file}"
            found.is_here |= is_here
            found.is_elsewhere |= not is_here
            return
        kinds.append(kind)
    if "changed" in kinds:
        found.changed.append(each)
    elif "unreadable" in kinds:
        found.unreadable.append(each)
    elif not each.is_rejected and not each.is_withdrawn:  # these files may be deleted
        found.gone.append(each)
        folder = each.out or here
        if folder in found.folders or not os.path.isdir(folder):  # noqa: PTH112 - many results, and few folders
            found.folders[folder] = found.folders.get(folder, 0) + 1


def kind_of(path: str, known: Stored, reader: Reader) -> str:
    """Return whether a file is the stored result: unchanged, changed, gone or unreadable."""
    try:
        seen = os.stat(path)  # noqa: PTH116 - 100,000 Path objects would take longer than the check
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != known.size:
            return "changed"
    except (FileNotFoundError, NotADirectoryError):
        return "changed" if os.path.islink(path) else "gone"  # noqa: PTH114 - a broken link is in the way of a new file
    except OSError:
        return "unreadable"
    if seen.st_mtime <= known.at + _LATE:
        return "unchanged"
    try:
        return "unchanged" if reader.hash(Path(path)) == known.sha256 else "changed"
    except OSError:
        return "unchanged"


def lines(found: StoredFilesCheck, db: Path, out: Path) -> Iterator[str]:
    """Yield what is missing or changed, with the command that restores it."""
    for folder, n in found.folders.items():
        were = "was" if n == 1 else "were"
        words = f"the folder {folder} is missing, where {plural(n, 'result')} {were} stored"
        yield safe(f"{words}: mount it, or give its new path with --out")
    here = str(out.absolute())
    gone = [each for each in found.gone if (each.out or here) not in found.folders]
    if gone:
        files, them = _files(gone), "it" if len(gone) == 1 else "them"
        more = "" if len(gone) < max(found.done, NAMED + 1) else "; is a drive not mounted?"
        fetch = f"`{_retry(gone, db, out)}` and a run download {them} again, free while the API keeps {them}"
        yield safe(f"{files} missing: {_names(gone)}{more}; {fetch}")
    if found.changed:
        files, them = _files(found.changed), "it" if len(found.changed) == 1 else "them"
        again = f"move {them} away, then `{_retry(found.changed, db, out)}` and a run download the original again"
        yield safe(f"{files} changed since the download: {_names(found.changed)}; {again}")
    if found.unreadable:
        yield safe(f"{_files(found.unreadable)} not readable: {_names(found.unreadable)}")
    for each in found.inputs[:NAMED]:
        words = f"{_shown(each.path)} has changed since {each.name} was made from it"
        yield safe(f"{words}: to swap the new file, which costs credits, give the row a new id")
    if len(found.inputs) > NAMED:
        yield f"and {len(found.inputs) - NAMED:,} more input files have changed"
    if found.looked_at < found.done and (found.gone or found.changed or found.inputs):
        yield f"only the latest {found.looked_at:,} of {plural(found.done, 'result')} were checked"


def _files(some: Sequence[Stored]) -> str:
    return f"{plural(len(some), 'result file')} {'is' if len(some) == 1 else 'are'}"


def _names(some: Sequence[Stored]) -> str:
    more = " …" if len(some) > NAMED else ""
    return ", ".join(f"{each.batch}/{each.key}" for each in some[:NAMED]) + more


def _retry(some: Sequence[Stored], db: Path, out: Path) -> str:
    """Return the command for the named results, or for all missing ones if there are many."""
    import shlex  # noqa: PLC0415 - seldom needed

    place = "" if out == Settings().out else f"--out {shlex.quote(str(out))}"
    if len(some) > NAMED:
        return command("retry", db, options=f"--state done {place}".strip())
    return command("retry", db, *(f"{each.batch}/{each.key}" for each in some), options=place)


def _shown(path: str) -> str:
    here = os.path.relpath(path)
    return path if here.startswith("..") else here
