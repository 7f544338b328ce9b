"""A ledger that is behind its submission log, in words, with the commands that repair it."""

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
    """Attempts that the ledger does not know; `problems` keep a log from being compared."""

    count: int = 0
    names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def words(self, db: Path, out: Path | None = None) -> str:
        """One sentence and the command."""
        were, them = ("was", "it") if self.count == 1 else ("were", "them")
        more = " …" if self.count > len(self.names) else ""
        return (
            f"{db}: is behind the submission log: {plural(self.count, 'submitted task')} that it does not know"
            f" ({', '.join(self.names)}{more}) {were} sent with a newer copy of it, or its -wal file was removed;"
            f" `{repair(db, out)}` attaches {them} without paying, then run again"
        )


def repair(db: Path, out: Path | None = None) -> str:
    """The command that repairs it."""
    elsewhere = out is not None and out != Settings().out
    return command("rebuild", db, options=f"--out {shlex.quote(str(out))}" if elsewhere else "")


def look(db: sqlite3.Connection) -> Behind:
    """What the submission logs of this user say of the ledger."""
    try:
        folder = state_folder()
    except UsageError:
        return Behind()
    with compared(db, folder) as found:
        return Behind(found.missing.count(), tuple(found.missing.names(SHOWN)), tuple(found.problems))
