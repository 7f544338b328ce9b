"""A new file with the permissions of another one, whose write errors are kept, and the sync of its folder."""

import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO


class NewFile(io.BufferedRandom):
    """A file that keeps the error of a write, which c2pa hides."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def created(path: Path, like: BinaryIO) -> NewFile:
    """Create an empty file with the permissions of an open one. The process may have a stricter umask.

    A file with this name is replaced, and a link is not followed.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(handle, stat.S_IMODE(os.fstat(like.fileno()).st_mode) & 0o777)
    return NewFile(io.FileIO(handle, "w+"))


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder, on file systems that can do that."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
