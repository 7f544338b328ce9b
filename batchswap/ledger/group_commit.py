"""Commit all waiting writes in one transaction, so that a group of them needs only one fsync."""

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
    """The result or the error of one write."""

    value: Any = None
    error: Exception | None = None


class LedgerWriter:
    """The only object that writes to the ledger during a run.

    `do` returns when the write is committed and synced. It raises the write's own error, which undoes this write and no
    other one; an error of the commit is raised for all writes of the group. Cancelling `do` does not undo the write.
    A write may be called a second time after the first was undone, so it must change nothing but the ledger.

    Statements run on the event loop's thread, where they take microseconds. Waiting, for the disk or for another
    process, happens in a separate thread. Statements in that thread would compete with the loop for the interpreter.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, executor: Executor | None = None) -> None:
        """`executor` runs the calls that wait for the disk; by default a thread."""
        self.db, self._path = db, path
        """`db` may be used directly at the end of a run, when nothing waits any longer."""
        self._thread = executor or ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Write, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self.location: Location | None = None
        """Notices changes to the file by other programs."""
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
            except Exception as error:  # noqa: BLE001 - raised by every `do` of this group
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
        self.db.execute("commit")
        if is_ours and self.location is not None:
            self.location.committed()

    async def replace(self, work: Callable[[sqlite3.Connection], tuple[sqlite3.Connection, Path]]) -> None:
        """Replace the connection by the one that `work` returns. Nothing is written in the meantime."""
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        self.db, self._path = work(self.db)
        be_patient(self.db, seconds=0.0)

    async def _apply(self, works: list[Write]) -> list[WriteOutcome]:
        await self._begin()
        try:  # without savepoints, which take longer than the writes: an error is rare
            return [WriteOutcome(work(self.db)) for work in works]
        except sqlite3.DatabaseError:
            raise  # a fault of the disk or the file, not of one write
        except Exception:  # noqa: BLE001 - raised below, where each write has its own savepoint
            self._undo()
        await self._begin()
        return [self._apart(work) for work in works]

    def _undo(self) -> None:
        if self.db.in_transaction:
            self.db.execute("rollback")

    async def _begin(self) -> None:
        """Begin a transaction, in a thread only if another process is writing."""
        try:
            self.db.execute("begin immediate")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            await self._in_thread(self._begin_patiently)

    def _begin_patiently(self) -> None:
        be_patient(self.db)
        try:
            self.db.execute("begin immediate")
        finally:
            be_patient(self.db, seconds=0.0)

    async def _in_thread(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _apart(self, work: Write) -> WriteOutcome:
        """Do one write. If it fails, undo only this one."""
        self.db.execute("savepoint one")
        try:
            value = work(self.db)
        except sqlite3.DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - raised by the `do` of this write
            self.db.execute("rollback to one")
            self.db.execute("release one")
            return WriteOutcome(error=error)
        self.db.execute("release one")
        return WriteOutcome(value)

    async def close(self) -> None:
        """Return when everything is committed and the thread has ended. The connection stays open."""
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        self._thread.shutdown(wait=True)
        be_patient(self.db)


def _settle(future: asyncio.Future[Any], outcome: WriteOutcome) -> None:
    if outcome.error is None:
        future.set_result(outcome.value)
    else:
        future.set_exception(outcome.error)
