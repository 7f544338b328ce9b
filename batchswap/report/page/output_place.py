"""The place of a report: which files may be replaced, and how a reader sees either the old or the new one."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchswap.errors import UsageError
from batchswap.ledger.deliveries import pictures_folder

INDEX, DATA, STRIPS = "index.html", "data", "strips"
MARK = re.compile(rb'<meta name="generator" content="batchswap [^"]*report">')
"""The tag by which a report is recognised. It is in the first bytes of the page."""
_HEAD = 4096
_COMPANIONS = ("", "-wal", "-shm", "-journal", ".lock", ".bak", ".saved.db")
"""Endings of the names of a ledger and the files next to it."""
_OTHER = "name another place"


def is_file(place: Path) -> bool:
    """Return whether the report is to be one file: its name ends in .html."""
    return place.suffix.lower() in (".html", ".htm") and not place.is_dir()


def folder_for(place: Path) -> Path:
    """Return the folder of a report that is too large for the file `place`."""
    return place.with_suffix("") if is_file(place) else place


def check(place: Path, ledger: Path) -> None:
    """Raise UsageError for a place that cannot be written, or where something else would be replaced."""
    try:
        if _is_of_ledger(place.resolve(), ledger.resolve()):
            raise UsageError(f"{place}: belongs to the ledger; {_OTHER}")
        parent = place.absolute().parent
        if not parent.is_dir():
            raise UsageError(f"{place}: there is no folder {parent}; create it, or {_OTHER}")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise UsageError(f"{place}: cannot be written (no permission for {parent}); {_OTHER}")
        if is_file(place):
            if place.exists() and not _is_report(place):
                raise UsageError(f"{place}: exists and is not a report of batchswap; {_OTHER}")
        elif place.exists():
            _check_folder(place)
    except OSError as error:
        raise UsageError(f"{place}: cannot be written ({error.strerror}); {_OTHER}") from error


def _is_of_ledger(place: Path, ledger: Path) -> bool:
    pictures = pictures_folder(ledger)
    own = {Path(f"{ledger}{ending}") for ending in _COMPANIONS}
    return place in own or pictures in (place, *place.parents)


def _check_folder(place: Path) -> None:
    if not place.is_dir():
        raise UsageError(f"{place}: is neither a folder nor a file with the ending .html; {_OTHER}")
    names = {each.name for each in place.iterdir()}
    if names and not (INDEX in names and _is_report(place / INDEX)):
        raise UsageError(f"{place}: is a folder with other files; name an empty or a new one with -o")
    if others := sorted(names - {INDEX, DATA, STRIPS}):
        raise UsageError(f"{place}: has files that are not part of the report ({others[0]}); move them away")


def _is_report(path: Path) -> bool:
    """Return whether the file may be replaced: it is a report of batchswap, or empty."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return not head or MARK.search(head) is not None


@contextmanager
def in_sentences(place: Path) -> Iterator[None]:
    """Turn an OSError into a UsageError that names the place."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{place}: the report cannot be written ({error.strerror}); {_OTHER}") from error


def write_file(path: Path, parts: Iterable[str]) -> None:
    """Write a file that only its owner may read. It replaces an earlier one when it is complete."""
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(handle)
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder, which takes the place of an earlier report at the end of the block."""
    target = place.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        _remove(part)
        part.mkdir(mode=0o700)
        yield part
        if target.exists():
            target.rename(old)
        part.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        _remove(part)
        if target.exists():
            _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
