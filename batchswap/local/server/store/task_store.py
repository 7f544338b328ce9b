"""Queries and changes of the tasks and the account in the server's SQLite file."""

import secrets
import sqlite3
from typing import Any

import msgspec

from batchswap import wire
from batchswap.errors import Refusal
from batchswap.local.server.store.database import Database

FaceContents = tuple[tuple[int | None, str], ...]
"""Pairs of a detected face (None: the primary face) and the new face's content."""


class Acceptance(msgspec.Struct, frozen=True):
    """A valid CreateTask, before the balance is checked. `target` and `faces` are contents."""

    param: bytes
    target: str
    faces: FaceContents
    suffix: str
    credits: float
    now: float
    fingerprint: str
    idempotency_key: str | None = None
    callback_url: str | None = None


class StoredTask(msgspec.Struct, frozen=True):
    """One task on the disk. `complete_at` is None until the task ends."""

    seq: int
    id: str
    param: bytes
    target: str
    faces: FaceContents
    suffix: str
    credits: float
    status: str
    create_at: float
    complete_at: float | None
    code: int | None
    message: str
    callback_url: str | None
    callback_tries: int

    @property
    def file(self) -> str:
        """The result's file name."""
        return f"{self.id}{self.suffix}"


COLUMNS = ", ".join(StoredTask.__struct_fields__)
FIND_SAME = "SELECT id, fingerprint FROM tasks WHERE idempotency_key = ?"


class TaskStore:
    """The queries and changes. A change returns when it is on the disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_account(self, balance: float) -> bytes:
        """Create the account with `balance` credits if it is missing. Return the secret for signed URLs."""

        def change(db: sqlite3.Connection) -> bytes:
            db.execute("INSERT OR IGNORE INTO account VALUES (1, ?)", (balance,))
            db.execute("INSERT OR IGNORE INTO settings VALUES ('secret', ?)", (secrets.token_bytes(32),))
            return bytes(db.execute("SELECT value FROM settings WHERE name = 'secret'").fetchone()[0])

        return await self._database.write(change)

    def read_balance(self) -> float:
        return float(self._database.read("SELECT balance FROM account")[0][0])

    async def deposit(self, credit: float) -> None:
        await self._database.write(lambda db: db.execute("UPDATE account SET balance = balance + ?", (credit,)))

    def find(self, task_id: str) -> StoredTask | None:
        rows = self._database.read(f"SELECT {COLUMNS} FROM tasks WHERE id = ?", task_id)  # noqa: S608
        return _record(rows[0]) if rows else None

    def find_open(self, after: int, limit: int) -> list[StoredTask]:
        """Return tasks that have not ended, in the order of their acceptance."""
        sql = f"SELECT {COLUMNS} FROM tasks WHERE complete_at IS NULL AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
        return [_record(row) for row in self._database.read(sql, after, limit)]

    def find_same(self, idempotency_key: str, fingerprint: str) -> str | None:
        """Return the task with this key. Raises Refusal 422 when the key was used for other work."""
        rows = self._database.read(FIND_SAME, idempotency_key)
        return _same(rows[0], fingerprint) if rows else None

    async def accept(self, acceptance: Acceptance) -> str:
        """Charge for a new task and return its id, or return the id of the task with the same idempotency key.

        Raises Refusal 402 (nothing is charged) or 422 (the idempotency key was used for other work).
        """
        return await self._database.write(lambda db: _accept(db, acceptance))

    async def end(self, task_id: str, status: str, code: int, message: str, now: float) -> None:
        """Record the end of a task, and make its callback due if it requested one. A task ends only once."""
        sql = """
            UPDATE tasks SET status = ?, code = ?, message = ?, complete_at = ?,
                callback_due = iif(callback_url IS NULL, NULL, ?)
            WHERE id = ? AND complete_at IS NULL"""
        await self._database.write(lambda db: db.execute(sql, (status, code, message, now, now, task_id)))

    def find_callbacks(self, limit: int) -> list[tuple[float, StoredTask]]:
        """Return undelivered callbacks with the times when they are due, the earliest first."""
        sql = f"""
            SELECT callback_due, {COLUMNS} FROM tasks WHERE callback_due IS NOT NULL
            ORDER BY callback_due LIMIT ?"""  # noqa: S608
        return [(row["callback_due"], _record(row)) for row in self._database.read(sql, limit)]

    async def record_callback(self, task_id: str, due: float | None) -> None:
        """Record an attempt to deliver a callback. The next one is due at `due`; None: there is no further attempt."""
        sql = "UPDATE tasks SET callback_tries = callback_tries + 1, callback_due = ? WHERE id = ?"
        await self._database.write(lambda db: db.execute(sql, (due, task_id)))


def _accept(db: sqlite3.Connection, new: Acceptance) -> str:
    if new.idempotency_key is not None and (row := db.execute(FIND_SAME, (new.idempotency_key,)).fetchone()):
        return _same(row, new.fingerprint)
    paid = db.execute("UPDATE account SET balance = balance - ?1 WHERE balance >= ?1", (new.credits,))
    if paid.rowcount != 1:
        raise Refusal(402, f"insufficient credits: this task costs {new.credits:g}")
    task: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "param": new.param,
        "target": new.target,
        "faces": msgspec.json.encode(new.faces),
        "suffix": new.suffix,
        "credits": new.credits,
        "status": wire.PENDING,
        "create_at": new.now,
        "fingerprint": new.fingerprint,
        "idempotency_key": new.idempotency_key,
        "callback_url": new.callback_url,
    }
    names, marks = ", ".join(task), ", ".join("?" * len(task))
    db.execute(f"INSERT INTO tasks ({names}) VALUES ({marks})", tuple(task.values()))  # noqa: S608
    return str(task["id"])


def _same(row: sqlite3.Row, fingerprint: str) -> str:
    if row["fingerprint"] != fingerprint:
        raise Refusal(422, "Idempotency-Key: was already used for a different body")
    return str(row["id"])


def _record(row: sqlite3.Row) -> StoredTask:
    fields = {name: row[name] for name in StoredTask.__struct_fields__}
    return StoredTask(**{**fields, "faces": msgspec.json.decode(row["faces"], type=FaceContents)})
