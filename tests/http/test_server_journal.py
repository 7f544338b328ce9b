"""The server's file: groups of changes, each on the disk before anyone is told, and none half done."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import Refusal, UsageError
from batchswap.local.server.store.database import Journal

ADD = "INSERT INTO uploads VALUES (?, 'content', 0)"


def names(journal: Journal) -> list[str]:
    return [row["id"] for row in journal.read("SELECT id FROM uploads ORDER BY id")]


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
        journal = Journal(tmp_path / "tasks.db")
        statements: list[str] = []
        journal._writer.set_trace_callback(statements.append)
        changes = [add(f"{n:02}") for n in range(40)]
        changes.insert(20, add_and_refuse)
        found = await asyncio.gather(*(journal.write(each) for each in changes), return_exceptions=True)
        assert [type(each) for each in found].count(Refusal) == 1
        assert names(journal) == [f"{n:02}" for n in range(40)]
        assert statements.count("COMMIT") <= 2
        assert journal._writer.execute("PRAGMA synchronous").fetchone()[0] == 2
        await journal.close()

    asyncio.run(use())


def test_a_full_disk_fails_the_change_and_damages_nothing(tmp_path: Path) -> None:
    async def use() -> None:
        journal = Journal(tmp_path / "tasks.db")
        await journal.write(add("before"))
        with no_more_than((tmp_path / "tasks.db-wal").stat().st_size), pytest.raises(sqlite3.Error):
            await journal.write(add("lost"))
        await journal.write(add("then"))
        assert names(journal) == ["before", "then"]
        await journal.close()

    asyncio.run(use())


def test_a_mistake_in_a_change_leaves_nobody_waiting(tmp_path: Path) -> None:
    def wrong(db: sqlite3.Connection) -> None:
        db.execute(ADD, ("wrong",))
        raise ZeroDivisionError

    async def use() -> None:
        journal = Journal(tmp_path / "tasks.db")
        with pytest.raises(asyncio.CancelledError):
            await journal.write(wrong)
        assert journal._flushing is not None
        with pytest.raises(ZeroDivisionError):
            await journal._flushing
        await journal.write(add("after"))
        assert names(journal) == ["after"]
        await journal.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("PRAGMA user_version = 1", "another program's file"),
        ("PRAGMA application_id = 0x62736C73; PRAGMA user_version = 99", "newer version"),
    ],
)
def test_a_file_of_others_is_left_alone(tmp_path: Path, script: str, message: str) -> None:
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.executescript(script)
    connection.close()
    with pytest.raises(UsageError, match=message):
        Journal(tmp_path / "tasks.db")
