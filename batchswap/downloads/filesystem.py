"""What a file system may lack without a result being lost: hard links, folder syncs, locks."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import msgspec

NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY)
"""How a call is refused that the file system does not have."""
NO_LINKS = (*NOT_SUPPORTED, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV)
_NO_LOCKS = (*NOT_SUPPORTED, errno.ENOLCK)
_NO_REPLACE = 1  # RENAME_NOREPLACE of renameat2(2)


class Traits(msgspec.Struct, frozen=True):
    """What a trial found. Without one, a file system is believed to have everything."""

    has_links: bool = True
    syncs_folders: bool = True

    @property
    def words(self) -> str:
        """The consequences, for people; "" when the file system has everything."""
        lacks = ["has no hard links: results are renamed instead"] if not self.has_links else []
        if not self.syncs_folders:
            lacks.append("cannot sync folders: after a power cut the newest results may be missing")
        return "; it ".join(lacks)


@contextmanager
def file_sync() -> Iterator[None]:
    """Pass over the error of a sync that the file system does not have. An I/O error stays one."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


@contextmanager
def folder_sync(traits: Traits) -> Iterator[None]:
    """The same for a folder. Some network shares answer with an I/O error; a trial has found that out before."""
    try:
        yield
    except OSError as error:
        if traits.syncs_folders and error.errno not in NOT_SUPPORTED:
            raise


def lock(handle: int) -> None:
    """Lock an open file, where the file system has locks. Raises BlockingIOError while another process holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def rename_to_free_name(folder: int, source: str, name: str) -> None:
    """Rename within a folder. Raises FileExistsError when the name is taken.

    The kernel looks and renames in one step where the file system can do so; elsewhere there is a moment between.
    """
    if (rename := _renameat2()) is not None:
        if rename(folder, os.fsencode(source), folder, os.fsencode(name), _NO_REPLACE) == 0:
            return
        if ctypes.get_errno() == errno.EEXIST:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        os.rename(source, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def replace(folder: int, source: str, name: str) -> None:
    """Rename over a file, in one step where the file system can: then there is no moment without a whole file."""
    try:
        os.rename(source, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        os.rename(source, name, src_dir_fd=folder, dst_dir_fd=folder)


@cache
def _renameat2() -> "ctypes._NamedFuncPointer | None":
    """The C library's function; None where it has none."""
    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return found
