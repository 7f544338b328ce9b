"""The folder of files that all processes of the user share, such as the submission log, and the identity of files."""

import os
from pathlib import Path

from batchswap.errors import UsageError

USE = "the file in which processes share the rate limit of a key"
_RELATIVE = f"which is not an absolute path, and {USE} needs a folder: set XDG_STATE_HOME to an absolute path"
_NO_HOME = (
    f"there is no home directory (HOME is not set, and this user has no other), and {USE} needs a folder:"
    " set XDG_STATE_HOME to an absolute path"
)


def identity(path: str | Path) -> tuple[int, int]:
    """Return device and inode of a file, which identify it under any name; (0, 0) if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called before each submit
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def home_folder() -> Path | None:
    """Return the user's home directory; None if it is unknown. An empty HOME is the same as none."""
    if given := os.environ.get("HOME"):
        return Path(given)
    import pwd  # noqa: PLC0415 - rarely needed

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def state_folder() -> Path:
    """Return $XDG_STATE_HOME/batchswap, or ~/.local/state/batchswap.

    Raise UsageError if neither is known, as in a container whose user has no home.
    """
    given = os.environ.get("XDG_STATE_HOME")
    home = Path(given) if given else home_folder()
    if home is None:
        raise UsageError(_NO_HOME)
    if not home.is_absolute():
        raise UsageError(f"{'XDG_STATE_HOME' if given else 'HOME'} is {str(home)!r}, {_RELATIVE}")
    return (home if given else home / ".local" / "state") / "batchswap"


def make_private(folder: Path) -> None:
    """Create a folder, and those above it that are missing, such that only the user can use them. Raise OSError."""
    missing = [folder]
    while not (above := missing[-1].parent).exists():
        missing.append(above)
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def check_usable() -> None:
    """Raise UsageError unless files can be created in the state folder."""
    folder = state_folder()
    try:
        make_private(folder)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise not_writable(folder, reason)


def not_writable(folder: Path, reason: str) -> UsageError:
    """Return the error of a state folder in which no file can be created."""
    words = f"{folder}: cannot write there ({reason}), but it is the place for {USE}"
    return UsageError(f"{words}: set XDG_STATE_HOME to a folder that you can write to")
