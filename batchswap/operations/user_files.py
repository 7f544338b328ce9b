"""Small files of the user, such as keys and settings: read with care, and with warnings about who else can."""

import os
import stat
from io import FileIO
from pathlib import Path

LARGEST = 64 * 1024
"""Bytes of a file of options or of a key."""


class NotReadable(Exception):
    """Why a file is not read, in words."""


def small_text(path: Path) -> str:
    """The text of a small regular file. A pipe or a device is not waited for. Raises NotReadable, FileNotFoundError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise NotReadable(f"cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotReadable("is not a file")
        found = FileIO(handle, closefd=False).read(LARGEST + 1) or b""
    except OSError as error:
        raise NotReadable(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(found) > LARGEST:
        raise NotReadable(f"is larger than {LARGEST // 1024} KiB, which no such file needs to be")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise NotReadable("is not UTF-8") from error


def at_home(path: str) -> Path | None:
    """A path that begins with `~`; None for a user who has no home, as in a container, or a relative one."""
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        return None
    return found if found.is_absolute() else None


def changeable(path: Path) -> str:
    """A warning about a file that other users of this machine can change; "" when they cannot."""
    try:
        for place in (path, path.parent):
            found = place.stat()
            if found.st_uid not in (os.getuid(), 0):
                return f"{place} belongs to another user, who can change where the API key goes"
            others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid != os.getgid() else 0)
            if found.st_mode & others and not found.st_mode & stat.S_ISVTX:
                return f"other users can write {place}, and change where the API key goes: chmod go-w {place}"
    except OSError:
        pass
    return ""


def exposed(path: Path) -> str:
    """A warning about a file of secrets that other users of this machine can change or read; "" when they cannot."""
    if words := changeable(path):
        return words
    try:
        is_open = path.stat().st_mode & 0o077 and path.parent.stat().st_mode & 0o011
    except OSError:
        return ""
    return f"other users can read the API key in {path}: chmod 600 {path}" if is_open else ""
