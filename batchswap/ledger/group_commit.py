"""Group commit: the writes that wait at one moment become one transaction, so durability costs one fsync a group."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from batchswap.ledger.file.connection import be_patient
from batchswap.ledger.file.location import Location
from batchswap.sqlite_errors import in_words

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]


class WriteOutcome(msgspec.Struct, frozen=True):
    """What one piece of work returned, or how it failed."""

    value: Any = None
    error: Exception | None = None


class LedgerWriter:
    """The one place that writes to the ledger while a run goes on.

    `do` returns when the work is committed and synced, and raises what the work raised: its own part is undone then,
    the others' stays. An error of the commit itself is everybody's. Cancelling a waiter does not undo its work.
    Write may be done twice, with the first time undone: it must not change anything but the ledger.

    Statements run on the event loop's thread, where they take microseconds; what waits, for the disk at a commit or for
    another process that writes, is done in a thread of its own. The other way round, a thread that runs statements
    would fight the loop for the interpreter at each of them.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, executor: Executor | None = None) -> None:
        """`executor` is where a commit waits for the disk; a thread by default."""
        self._db, self._path = db, path
        self._thread = executor or ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Write, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self.location: Location | None = None
        """What notices that the file was changed by others."""
        be_patient(db, seconds=0.0)

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                outcomes = await self._commit([work for work, _ in group])
            except Exception as error:  # noqa: BLE001 - handed to everyone who waits, who raise it
                outcomes = [WriteOutcome(error=error)] * len(group)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if not future.done():
                    _settle(future, outcome)

    async def _commit(self, works: list[Write]) -> list[WriteOutcome]:
        with in_words(self._path, in_use=True):
            try:
                outcomes = await self._apply(works)
                await self._in_thread(self._commit_now)
            except Exception:
                self._undo()
                raise
        return outcomes

    def _commit_now(self) -> None:
        is_ours = self.location is not None and self.location.is_unchanged()
        self._db.execute("commit")
        if is_ours and self.location is not None:
            self.location.committed()

    async def replace(self, work: Callable[[sqlite3.Connection], tuple[sqlite3.Connection, Path]]) -> None:
        """Go on with the connection, to another file, that `work` returns. Nothing is written meanwhile."""
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        self._db, self._path = work(self._db)
        be_patient(self._db, seconds=0.0)

    async def _apply(self, works: list[Write]) -> list[WriteOutcome]:
        await self._begin()
        try:  # nearly always, none of them fails: a savepoint for each would cost more than the work
            return [WriteOutcome(work(self._db)) for work in works]
        except sqlite3.DatabaseError:
            raise  # the disk or the file, not one of the works
        except Exception:  # noqa: BLE001 - done again, each in its own savepoint: it will be seen whose error it is
            self._undo()
        await self._begin()
        return [self._apart(work) for work in works]

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("rollback")

    async def _begin(self) -> None:
        """Without waiting where nobody else writes, which is nearly always."""
        try:
            self._db.execute("begin immediate")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            await self._in_thread(self._begin_patiently)

    def _begin_patiently(self) -> None:
        be_patient(self._db)
        try:
            self._db.execute("begin immediate")
        finally:
            be_patient(self._db, seconds=0.0)

    async def _in_thread(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _apart(self, work: Write) -> WriteOutcome:
        """When it fails, only its own part is undone."""
        self._db.execute("savepoint one")
        try:
            value = work(self._db)
        except sqlite3.DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to the one who waits for this work, who raises it
            self._db.execute("rollback to one")
            self._db.execute("release one")
            return WriteOutcome(error=error)
        self._db.execute("release one")
        return WriteOutcome(value)

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for what is written when nothing waits any longer."""
        return self._db

    async def close(self) -> None:
        """Return when everything is committed and the thread has ended. The connection stays the caller's."""
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        self._thread.shutdown(wait=True)
        be_patient(self._db)


def _settle(future: asyncio.Future[Any], outcome: WriteOutcome) -> None:
    if outcome.error is None:
        future.set_result(outcome.value)
    else:
        future.set_exception(outcome.error)
