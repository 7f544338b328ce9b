"""The ledger of one run: a connection for reading, and the writer with its grouped commits."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from batchswap.clock import Clock
from batchswap.ledger.file.location import LedgerFault, Location
from batchswap.ledger.file.rescue import save
from batchswap.ledger.group_commit import LedgerWriter
from batchswap.ledger.submission_log.log import NoLog, SubmissionLog
from batchswap.ledger.transitions import Stamp

P = ParamSpec("P")
T = TypeVar("T")


class RunLedger:
    """Read with `db`. `write` and `do` return after the commit, and raise the exceptions of their work."""

    def __init__(
        self,
        writer: LedgerWriter,
        db: sqlite3.Connection,
        path: Path,
        clock: Clock,
        run_id: int,
        log: SubmissionLog | NoLog | None = None,
    ) -> None:
        self.writer, self.db, self.path, self.run_id = writer, db, path, run_id
        self.log = log or NoLog()
        self.guard: Callable[[], Awaitable[bool]] | None = None
        """Checks whether the file is still in its place."""
        self._clock = clock

    def stamp(self) -> Stamp:
        return Stamp(self._clock.now(), self.run_id)

    async def write(
        self, transition: Callable[Concatenate[sqlite3.Connection, Stamp, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Record a transition, stamped with the time and the run."""

        def stamped(db: sqlite3.Connection) -> T:
            return transition(db, self.stamp(), *args, **kwargs)

        return await self.writer.do(stamped)

    async def do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Record work that needs no stamp."""

        def bound(db: sqlite3.Connection) -> T:
            return work(db, *args, **kwargs)

        return await self.writer.do(bound)

    async def is_well(self) -> bool:
        """Return whether the file is still in its place."""
        return self.guard is None or await self.guard()

    async def rescue(self, location: Location, fault: LedgerFault, stack: ExitStack) -> Location:
        """Continue with a good copy, which `stack` closes, and return its location. Raise LedgerFailed without one."""

        def work(writing: sqlite3.Connection) -> tuple[sqlite3.Connection, Path]:
            saved = save(location, fault, writing, self.db, stack)
            self.writer.location = Location(saved.path, saved.writing)
            self.db, self.path = saved.reading, saved.path
            return saved.writing, saved.path

        await self.writer.replace(work)
        return self.writer.location or location
