"""Try out the folder of results before anything is paid: its abilities, and the names that it accepts.

All files of a trial are made in `.batchswap-trial` below that folder, and removed again. The next trial removes the
files of a process that was killed.
"""

import errno
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec

from batchswap.downloads.filesystem import Traits, file_sync, lock, rename_to_free_name
from batchswap.downloads.output_paths import Place

FOLDER = ".batchswap-trial"
_OLD = 3600.0  # seconds after which a trial of another machine must have ended
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Trial(msgspec.Struct, frozen=True):
    """`obstacle` explains why no result can be stored, `refused` why some outputs cannot. Both may be empty."""

    traits: Traits = Traits()
    obstacle: str = ""
    refused: dict[str, str] = {}


def try_out(out: Path, outputs: Iterable[str]) -> Trial:
    """Do the steps of a download in `out`, which is created if needed: create, lock, write, sync, link, rename."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _own_folder(out) as place:
            handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                traits = _find_traits(handle)
            finally:
                os.close(handle)
            return Trial(traits, "", dict(_refused(place, outputs)))
    except OSError as error:
        return Trial(obstacle=error.strerror or str(error))


@contextmanager
def _own_folder(out: Path) -> Iterator[Path]:
    parent = out / FOLDER
    own = parent / f"{socket.gethostname()}-{os.getpid()}"
    _clear(parent)
    own.mkdir(parents=True)
    try:
        yield own
    finally:
        shutil.rmtree(own)
        with suppress(OSError):
            parent.rmdir()  # fails while another process has its own trial


def _clear(parent: Path) -> None:
    """Remove the folders of processes that have ended."""
    for left in parent.iterdir() if parent.is_dir() else ():
        host, _, number = left.name.rpartition("-")
        is_ours = host == socket.gethostname()
        if (is_ours and not _is_alive(number)) or time.time() - left.lstat().st_mtime > _OLD:
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(number: str) -> bool:
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _find_traits(folder: int) -> Traits:
    """Raise OSError if a step fails without which no result can be stored."""
    file = os.open("whole.part", _FLAGS, 0o666, dir_fd=folder)
    try:
        lock(file)
        os.write(file, b"batchswap")
        with file_sync():
            os.fsync(file)
    finally:
        os.close(file)
    has_links = _works(os.link, "whole.part", "linked", src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    rename_to_free_name(folder, "whole.part", "whole")
    return Traits(has_links, syncs_folders=_works(os.fsync, folder))


def _works(call: Callable[..., object], *values: object, **options: object) -> bool:
    """Return whether a call succeeds. An I/O error means no too, because the file was written and synced before."""
    try:
        call(*values, **options)
    except OSError:
        return False
    return True


def _refused(place: Path, outputs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the outputs that cannot be stored, with the reason. Each folder and file name is tried once."""
    known: dict[tuple[str, bool], str] = {}
    for output in outputs:
        *folders, _ = PurePosixPath(output).parts
        here = Place(place, output)
        names = [*((name, True) for name in folders), *((name, False) for name in (here.name, here.part, here.note))]
        for name, is_folder in names:
            if (name, is_folder) not in known:
                known[name, is_folder] = _try_name(place, name, is_folder=is_folder)
        if why := next(filter(None, (known[each] for each in names)), ""):
            yield output, why


def _try_name(place: Path, name: str, *, is_folder: bool) -> str:
    """Return why the file system refuses this name; "" if it does not."""
    path = place / "names" / name
    try:
        path.parent.mkdir(exist_ok=True)
        if is_folder:
            path.mkdir()
            path.rmdir()
        else:
            os.close(os.open(path, _FLAGS, 0o666))
            path.unlink()
    except UnicodeEncodeError:
        return "the locale's encoding lacks some of its letters; use a UTF-8 locale, such as LC_ALL=C.UTF-8"
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            raise  # the name is not the reason
        return error.strerror or str(error)
    return ""
