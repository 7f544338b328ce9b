"""The folder where processes of this user share what belongs to no single ledger."""

import os
from pathlib import Path

from batchswap.errors import UsageError

USE = "the file that processes share a key's rate by"
_RELATIVE = f"which is no absolute path to keep {USE} in: set XDG_STATE_HOME to one"


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
