"""The folder of files that all processes of the user share, such as the submission log, and the identity of files."""

import os
from pathlib import Path

from batchswap.errors import UsageError

USE = "the file in which processes share the rate limit of a key"
_RELATIVE = f"which is not an absolute path, and {USE} needs a folder: set XDG_STATE_HOME to an absolute path"


def identity(path: str | Path) -> tuple[int, int]:
    """Return device and inode of a file, which identify it under any name; (0, 0) if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called before each submit
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def state_folder() -> Path:
    """Return $XDG_STATE_HOME/batchswap, or ~/.local/state/batchswap.

    Raise UsageError if neither is known, as in a container whose user has no home.
    """
    given = os.environ.get("XDG_STATE_HOME")
    try:
        home = Path(given) if given else Path.home() / ".local" / "state"
    except RuntimeError:
        raise UsageError(f"no home directory for {USE}: set XDG_STATE_HOME") from None
    if not home.is_absolute():
        raise UsageError(f"{'XDG_STATE_HOME' if given else 'HOME'} is {given or os.environ.get('HOME')!r}, {_RELATIVE}")
    return home / "batchswap"
