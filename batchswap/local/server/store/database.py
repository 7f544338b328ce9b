"""The server's SQLite file. Changes are committed in groups, and each group is on the disk before its callers resume.

One thread writes. Changes that arrive while it waits for the disk form the next group, so one sync serves many
requests. Reads use a separate connection and do not wait.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from batchswap.errors import BatchswapError, UsageError

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], Any]

VERSION = 1
APPLICATION_ID = 0x62736C73  # "bsls"

SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE account (id INTEGER PRIMARY KEY CHECK (id = 1), balance REAL NOT NULL) STRICT;
CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    param BLOB NOT NULL,
    target TEXT NOT NULL,
    faces BLOB NOT NULL,
    suffix TEXT NOT NULL,
    credits REAL NOT NULL,
    status TEXT NOT NULL,
    create_at REAL NOT NULL,
    complete_at REAL,
    code INTEGER,
    message TEXT NOT NULL DEFAULT '',
    idempotency_key TEXT UNIQUE,
    fingerprint TEXT NOT NULL,
    callback_url TEXT,
    callback_tries INTEGER NOT NULL DEFAULT 0,
    callback_due REAL
) STRICT;
CREATE INDEX open_tasks ON tasks (seq) WHERE complete_at IS NULL;
CREATE INDEX due_callbacks ON tasks (callback_due) WHERE callback_due IS NOT NULL;
CREATE TABLE uploads (id TEXT PRIMARY KEY, content TEXT NOT NULL, create_at REAL NOT NULL) STRICT;
CREATE TABLE looks (
    content TEXT NOT NULL, culprit TEXT NOT NULL, look BLOB NOT NULL, PRIMARY KEY (content, culprit)
) STRICT;
CREATE TABLE detections (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    detect_id TEXT UNIQUE,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    content TEXT NOT NULL,
    status TEXT NOT NULL,
    pictures BLOB NOT NULL DEFAULT (CAST('[]' AS BLOB)),
    error TEXT NOT NULL DEFAULT '',
    create_at REAL NOT NULL,
    complete_at REAL
) STRICT;
CREATE INDEX open_detections ON detections (seq) WHERE complete_at IS NULL;
"""


class Database:
    """One SQLite file, created if it is missing. Close it after use."""

    def __init__(self, path: Path) -> None:
        # Created before SQLite does it, so that only this user can read the file, its -wal and its -shm.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._thread = ThreadPoolExecutor(1, "database")
        self._waiting: list[tuple[Change, asyncio.Future[Any]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._writer = _connect(path)
        try:
            _prepare(self._writer, path)
            self._reader = _connect(path)
        except BaseException:
            self._writer.close()
            raise
        self._reader.execute("PRAGMA query_only = ON")

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Run a query on the caller's thread. Every query needs an index."""
        return self._reader.execute(sql, values).fetchall()

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Apply `change` and return when it is on the disk. If it raises BatchswapError, undo only this change."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await future

    async def close(self) -> None:
        """Write all waiting changes, then close the file."""
        if self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                outcomes = await loop.run_in_executor(self._thread, self._commit, [change for change, _ in group])
            except BaseException:
                for _, future in group:
                    future.cancel()  # a bug in one change: the other callers must not wait for ever
                raise
            for (_, future), (value, error) in zip(group, outcomes, strict=True):
                if future.cancelled():
                    continue
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

    def _commit(self, changes: list[Change]) -> list[tuple[Any, Exception | None]]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._apply(change) for change in changes]
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:  # such as a full disk: the whole group is undone
            self._roll_back()
            return [(None, error)] * len(changes)
        except BaseException:
            self._roll_back()
            raise
        return outcomes

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _apply(self, change: Change) -> tuple[Any, Exception | None]:
        self._writer.execute("SAVEPOINT change")
        try:
            return change(self._writer), None
        except BatchswapError as error:
            self._writer.execute("ROLLBACK TO change")
            return None, error
        finally:
            self._writer.execute("RELEASE change")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if version == 0 and application == 0:
            settings = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            connection.executescript(f"BEGIN; {SCHEMA} {settings} COMMIT;")
        elif application != APPLICATION_ID:
            raise UsageError(f"{path} belongs to another program: serve another folder")
        elif version > VERSION:
            raise UsageError(f"{path} was written by a newer version of batchswap: upgrade batchswap")
    except sqlite3.DatabaseError as error:
        raise UsageError(f"the local server cannot use {path}: {error}") from error
