"""Why a run could not start, in words that name no person, and whether cron has heard it before."""

import hashlib
import platform
from contextlib import suppress
from pathlib import Path

from batchswap.errors import (
    AccountRefused,
    ApiUnavailable,
    LedgerBusy,
    LedgerError,
    ManifestErrors,
    MissingExtra,
    UsageError,
)
from batchswap.report.formatting import plural
from batchswap.state_folder import state_folder

FOLDER = "unstarted"
"""Folder of the last errors of ticks that could not start, so that cron does not repeat the message."""
_DETAILS = "the output of the run has the details"
_PUBLIC = (LedgerBusy, LedgerError, AccountRefused, ApiUnavailable, MissingExtra)
"""Errors whose messages name no rows, inputs and releases."""


def failure_words(error: BaseException) -> str:
    """Return why an error ended a run. Messages that may name rows, inputs and releases are left out."""
    match error:
        case BaseExceptionGroup() if len(error.exceptions) == 1:
            return failure_words(error.exceptions[0])
        case ManifestErrors():
            them = "it" if len(error.problems) == 1 else "them"
            return f"the manifests have {plural(len(error.problems), 'mistake')}: `batchswap check` lists {them}"
        case _ if isinstance(error, _PUBLIC):
            return str(error)
        case UsageError():
            return f"an option, a file or a row has to be corrected: {_DETAILS}"
        case KeyboardInterrupt():
            return "interrupted"
        case OSError() if error.strerror:
            return f"{error.strerror}: {_DETAILS}"
    return f"an unexpected error ({type(error).__name__}): {_DETAILS}"


def here() -> str:
    """Return the folder and the machine, to which the commands of a message belong."""
    return f"{Path.cwd()} on {platform.node() or 'this machine'}"


def is_news(ledger: Path, words: str) -> bool:
    """Note why a tick of this ledger could not start. Return whether it is news.

    Without a folder for it, every tick is news.
    """
    try:
        place = _place(ledger)
        if place.is_file() and place.read_text(encoding="utf-8") == words:
            return False
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_text(words, encoding="utf-8")
    except (OSError, UsageError, ValueError):
        return True
    return True


def forget(ledger: Path) -> None:
    """Forget it, because a tick has started."""
    with suppress(OSError, UsageError):
        _place(ledger).unlink(missing_ok=True)


def _place(ledger: Path) -> Path:
    name = hashlib.sha256(str(ledger.absolute()).encode()).hexdigest()[:16]
    return state_folder() / FOLDER / name
