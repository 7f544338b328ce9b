"""Group commit: the writes that wait at one moment become one transaction, so durability costs one fsync a group."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from batchswap.ledger.files import in_words

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


class Outcome(msgspec.Struct, frozen=True):
    """What one piece of work returned, or how it failed."""

    value: Any = None
    error: Exception | None = None


class Writer:
    """The one place that writes to the ledger while a run goes on.

    `do` returns when the work is committed and synced, and raises what the work raised: its own part is undone then,
    the others' stays. An error of the commit itself is everybody's. Cancelling a waiter does not undo its work.
    Work may be done twice, with the first time undone: it must not change anything but the ledger.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, executor: Executor | None = None) -> None:
        """`executor` runs one transaction at a time; a thread by default."""
        self._db, self._path = db, path
        self._thread = executor or ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            works = [work for work, _ in group]
            try:
                outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, works)
            except Exception as error:  # noqa: BLE001 - handed to everyone who waits, who raise it
                outcomes = [Outcome(error=error)] * len(group)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if not future.done():
                    _settle(future, outcome)

    def _commit(self, works: list[Work]) -> list[Outcome]:
        with in_words(self._path):
            try:
                return self._together(works)
            except sqlite3.DatabaseError:
                raise  # the disk or the file, not one of the works
            except Exception:  # noqa: BLE001 - done again, each in its own savepoint: it will be seen whose error it is
                return self._apart(works)

    def _together(self, works: list[Work]) -> list[Outcome]:
        """All in one transaction, without a savepoint for each: nearly always, none of them fails."""
        with self._transaction():
            return [Outcome(work(self._db)) for work in works]

    def _apart(self, works: list[Work]) -> list[Outcome]:
        """The same when one of them fails: only its own part is undone."""
        with self._transaction():
            return [self._apply(work) for work in works]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise

    def _apply(self, work: Work) -> Outcome:
        self._db.execute("savepoint one")
        try:
            value = work(self._db)
        except sqlite3.DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to the one who waits for this work, who raises it
            self._db.execute("rollback to one")
            self._db.execute("release one")
            return Outcome(error=error)
        self._db.execute("release one")
        return Outcome(value)

    async def close(self) -> None:
        """Return when everything is committed and the thread has ended. The connection stays the caller's."""
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        self._thread.shutdown(wait=True)


def _settle(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if outcome.error is None:
        future.set_result(outcome.value)
    else:
        future.set_exception(outcome.error)
