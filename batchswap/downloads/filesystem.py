"""Cope with file systems without hard links, folder syncs or locks: no result is lost for want of them."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import msgspec

NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY)
"""The errors of a call that the file system does not support."""
NO_LINKS = (*NOT_SUPPORTED, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV)
_NO_LOCKS = (*NOT_SUPPORTED, errno.ENOLCK)
_NO_REPLACE = 1  # RENAME_NOREPLACE of renameat2(2)


class Traits(msgspec.Struct, frozen=True):
    """The abilities of a file system that a trial found. By default it has all of them."""

    has_links: bool = True
    syncs_folders: bool = True

    @property
    def words(self) -> str:
        """A message about missing abilities and their consequences; "" if there are none."""
        lacks = ["has no hard links: results are renamed instead"] if not self.has_links else []
        if not self.syncs_folders:
            lacks.append("cannot sync folders: after a power cut the newest results may be missing")
        return "; it ".join(lacks)


@contextmanager
def file_sync() -> Iterator[None]:
    """Ignore the error of a sync that the file system does not support. An I/O error is raised."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


@contextmanager
def folder_sync(traits: Traits) -> Iterator[None]:
    """Do the same for a folder. An I/O error is ignored if the trial found it too, as on some network shares."""
    try:
        yield
    except OSError as error:
        if traits.syncs_folders and error.errno not in NOT_SUPPORTED:
            raise


def lock(handle: int) -> None:
    """Lock an open file if its file system has locks. Raise BlockingIOError if another process holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def rename_to_free_name(folder: int, source: str, name: str, *, into: int | None = None) -> None:
    """Rename within a folder, or `into` another one. Raise FileExistsError if the name is taken.

    If the file system supports it, the check and the renaming are one step.
    """
    into = folder if into is None else into
    if (rename := _renameat2()) is not None:
        if rename(folder, os.fsencode(source), into, os.fsencode(name), _NO_REPLACE) == 0:
            return
        if ctypes.get_errno() == errno.EEXIST:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    try:
        os.lstat(name, dir_fd=into)
    except FileNotFoundError:
        os.rename(source, name, src_dir_fd=folder, dst_dir_fd=into)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def replace(folder: int, source: str, name: str) -> None:
    """Rename over a file. If the file system can do that in one step, a complete file exists at every moment."""
    try:
        os.rename(source, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        os.rename(source, name, src_dir_fd=folder, dst_dir_fd=folder)


@cache
def _renameat2() -> "ctypes._NamedFuncPointer | None":
    """Return the C library's function; None if it has none."""
    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return found
