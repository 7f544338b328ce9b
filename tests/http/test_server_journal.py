"""The server's database: groups of changes, each on the disk before its caller continues, and none half done."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import Refusal, UsageError
from batchswap.local.server.store.database import Database

ADD = "INSERT INTO uploads VALUES (?, 'content', 0)"


def names(database: Database) -> list[str]:
    return [row["id"] for row in database.read("SELECT id FROM uploads ORDER BY id")]


def add(name: str) -> Any:
    return lambda db: db.execute(ADD, (name,)).lastrowid


def add_and_refuse(db: sqlite3.Connection) -> None:
    db.execute(ADD, ("refused",))
    raise Refusal(402, "no")


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes: a full disk, as far as SQLite can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_changes_that_wait_share_a_commit_and_a_refused_one_undoes_itself_alone(tmp_path: Path) -> None:
    async def use() -> None:
        database = Database(tmp_path / "tasks.db")
        statements: list[str] = []
        database._writer.set_trace_callback(statements.append)
        changes = [add(f"{n:02}") for n in range(40)]
        changes.insert(20, add_and_refuse)
        found = await asyncio.gather(*(database.write(each) for each in changes), return_exceptions=True)
        assert [type(each) for each in found].count(Refusal) == 1
        assert names(database) == [f"{n:02}" for n in range(40)]
        assert statements.count("COMMIT") <= 2
        assert database._writer.execute("PRAGMA synchronous").fetchone()[0] == 2
        await database.close()

    asyncio.run(use())


def test_a_full_disk_fails_the_change_and_damages_nothing(tmp_path: Path) -> None:
    async def use() -> None:
        database = Database(tmp_path / "tasks.db")
        await database.write(add("before"))
        with no_more_than((tmp_path / "tasks.db-wal").stat().st_size), pytest.raises(sqlite3.Error):
            await database.write(add("lost"))
        await database.write(add("then"))
        assert names(database) == ["before", "then"]
        await database.close()

    asyncio.run(use())


def test_an_error_in_a_change_leaves_no_caller_waiting(tmp_path: Path) -> None:
    def wrong(db: sqlite3.Connection) -> None:
        db.execute(ADD, ("wrong",))
        raise ZeroDivisionError

    async def use() -> None:
        database = Database(tmp_path / "tasks.db")
        with pytest.raises(asyncio.CancelledError):
            await database.write(wrong)
        assert database._flushing is not None
        with pytest.raises(ZeroDivisionError):
            await database._flushing
        await database.write(add("after"))
        assert names(database) == ["after"]
        await database.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("PRAGMA user_version = 1", "belongs to another program"),
        ("PRAGMA application_id = 0x62736C73; PRAGMA user_version = 99", "newer version"),
    ],
)
def test_a_file_of_others_is_left_alone(tmp_path: Path, script: str, message: str) -> None:
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.executescript(script)
    connection.close()
    with pytest.raises(UsageError, match=message):
        Database(tmp_path / "tasks.db")
