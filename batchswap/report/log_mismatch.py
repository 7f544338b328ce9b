"""The message about a ledger that lacks attempts of its submission log, with the command that repairs it."""

import shlex
import sqlite3
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger.submission_log.comparison import compared
from batchswap.report.formatting import plural
from batchswap.report.next_commands import command
from batchswap.settings import Settings
from batchswap.state_folder import state_folder

SHOWN = 3


class Behind(msgspec.Struct, frozen=True):
    """Attempts that are missing in the ledger. `problems`: why a log could not be compared."""

    count: int = 0
    names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def words(self, db: Path, out: Path | None = None) -> str:
        """Return one sentence with the command that repairs the ledger."""
        were, them = ("was", "it") if self.count == 1 else ("were", "them")
        more = " …" if self.count > len(self.names) else ""
        return (
            f"{db}: the ledger is an older copy, or its -wal file was removed: {plural(self.count, 'submitted task')}"
            f" of the submission log {were} not found in it ({', '.join(self.names)}{more});"
            f" `{repair(db, out)}` attaches {them} without paying, then run again"
        )


def repair(db: Path, out: Path | None = None) -> str:
    """Return the command that repairs the ledger."""
    elsewhere = out is not None and out != Settings().out
    return command("rebuild", db, options=f"--out {shlex.quote(str(out))}" if elsewhere else "")


def look(db: sqlite3.Connection) -> Behind:
    """Compare the ledger with the submission logs of this user."""
    try:
        folder = state_folder()
    except UsageError:
        return Behind()
    with compared(db, folder) as found:
        return Behind(found.missing.count(), tuple(found.missing.names(SHOWN)), tuple(found.problems))
