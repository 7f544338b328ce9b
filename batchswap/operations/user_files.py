"""Read small files of the user, such as keys and settings, and warn if other users can read or change them."""

import os
import stat
from io import FileIO
from pathlib import Path

from batchswap.state_folder import home_folder

LARGEST = 64 * 1024
"""Bytes of a file with options or a key."""


class NotReadable(Exception):
    """A file cannot be read. The message has the reason."""


def small_text(path: Path) -> str:
    """Return the text of a small regular file. Raise NotReadable, also for a pipe or device, or FileNotFoundError."""
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
        raise NotReadable(f"is larger than {LARGEST // 1024} KiB")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise NotReadable("is not UTF-8") from error


def at_home(path: str) -> Path | None:
    """Expand a path that begins with `~`; None if the user's home is unknown, as in a container, or relative."""
    if path == "~" or path.startswith("~/"):
        found = home_folder()
        return found / path[2:] if found is not None and found.is_absolute() else None
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        return None
    return found if found.is_absolute() else None


def changeable(path: Path) -> str:
    """Return a warning about a file that other users of this machine can change; "" when they cannot."""
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


def exposed(path: Path, secrets: str = "the API key") -> str:
    """Return a warning about a file of secrets that other users can change or read; "" when they cannot."""
    if words := changeable(path):
        return words
    try:
        is_open = path.stat().st_mode & 0o077 and path.parent.stat().st_mode & 0o011
    except OSError:
        return ""
    return f"other users can read {secrets} in {path}: chmod 600 {path}" if is_open else ""
