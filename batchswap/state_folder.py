"""The folder where processes of this user share what belongs to no single ledger, and what tells its files apart."""

import os
from pathlib import Path

from batchswap.errors import UsageError

USE = "the file that processes share a key's rate by"
_RELATIVE = f"which is no absolute path to keep {USE} in: set XDG_STATE_HOME to one"


def identity(path: str | Path) -> tuple[int, int]:
    """Return what tells the file under this name from any other. (0, 0): there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked before each submit
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def state_folder() -> Path:
    """Where files of this kind live: $XDG_STATE_HOME/batchswap, else ~/.local/state/batchswap.

    Raises UsageError where neither is known, as in a container whose user has no home.
    """
    given = os.environ.get("XDG_STATE_HOME")
    try:
        home = Path(given) if given else Path.home() / ".local" / "state"
    except RuntimeError:
        raise UsageError(f"there is no home for {USE}: set XDG_STATE_HOME") from None
    if not home.is_absolute():
        raise UsageError(f"{'XDG_STATE_HOME' if given else 'HOME'} is {given or os.environ.get('HOME')!r}, {_RELATIVE}")
    return home / "batchswap"
