"""Group commit: one transaction for all waiting writes, and an error undoes one write only."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import LedgerFull, LostRace
from batchswap.ledger.file import connection as files
from batchswap.ledger.group_commit import LedgerWriter


async def test_waiting_writes_are_committed_together(db: sqlite3.Connection, path: Path) -> None:
    commits: list[str] = []
    db.set_trace_callback(lambda sql: commits.append(sql) if sql == "commit" else None)

    writer = LedgerWriter(db, path)
    add = [lambda c, i=i: c.execute("insert into meta values(?, x'00')", (f"n{i}",)) and i for i in range(50)]
    assert await asyncio.gather(*(writer.do(work) for work in add)) == list(range(50))
    await writer.close()
    assert db.execute("select count(*) from meta where name like 'n%'").fetchone() == (50,)
    assert len(commits) <= 3


async def test_a_failed_write_undoes_only_itself(db: sqlite3.Connection, path: Path) -> None:
    def bad(connection: sqlite3.Connection) -> None:
        connection.execute("insert into meta values('bad', x'00')")
        raise LostRace("moved")

    writer = LedgerWriter(db, path)
    good = writer.do(lambda c: c.execute("insert into meta values('good', x'00')").rowcount)
    outcomes = await asyncio.gather(writer.do(bad), good, return_exceptions=True)
    assert isinstance(outcomes[0], LostRace)
    assert outcomes[1] == 1
    await writer.close()
    assert [name for (name,) in db.execute("select name from meta where name in ('bad', 'good')")] == ["good"]


async def test_a_full_disk_fails_all_writes(db: sqlite3.Connection, path: Path) -> None:
    db.execute(f"pragma max_page_count = {db.execute('pragma page_count').fetchone()[0]}")

    writer = LedgerWriter(db, path)
    big = writer.do(lambda c: c.execute("insert into meta values('big', zeroblob(10000000))"))
    small = writer.do(lambda c: c.execute("update tasks set code = 'x'"))
    outcomes = await asyncio.gather(big, small, return_exceptions=True)
    assert all(isinstance(outcome, LedgerFull) for outcome in outcomes)
    await writer.close()
    assert db.execute("select count(*) from tasks where code = 'x'").fetchone() == (0,)


async def test_a_cancelled_caller_does_not_undo_its_write(db: sqlite3.Connection, path: Path) -> None:
    writer = LedgerWriter(db, path)
    waiter = asyncio.ensure_future(writer.do(lambda c: c.execute("insert into meta values('kept', x'00')")))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await writer.close()
    assert db.execute("select count(*) from meta where name = 'kept'").fetchone() == (1,)


async def test_the_loop_continues_while_another_process_writes(db: sqlite3.Connection, path: Path) -> None:
    writer = LedgerWriter(db, path)
    with closing(files.connect(path, write=True)) as other:
        other.execute("begin immediate")
        waiter = asyncio.ensure_future(writer.do(lambda c: c.execute("insert into meta values('late', x'00')")))
        await asyncio.sleep(0.03)
        assert not waiter.done()
        other.execute("commit")  # never reached by a loop that waits in SQLite
    await waiter
    await writer.close()
    assert db.execute("select count(*) from meta where name = 'late'").fetchone() == (1,)
    assert db.execute("pragma busy_timeout").fetchone()[0] > 0


async def test_a_commit_that_fails_leaves_nothing_behind_and_the_next_one_succeeds(
    db: sqlite3.Connection, path: Path
) -> None:
    class Broken(ThreadPoolExecutor):
        times = 1

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.times -= 1
            return super().submit(fn if self.times < 0 else fail, *args, **kwargs)

    def fail() -> None:
        raise OSError("no disk")

    writer = LedgerWriter(db, path, Broken(1))
    with pytest.raises(OSError, match="no disk"):
        await writer.do(lambda c: c.execute("insert into meta values('first', x'00')"))
    await writer.do(lambda c: c.execute("insert into meta values('second', x'00')"))
    await writer.close()
    assert [name for (name,) in db.execute("select name from meta where name in ('first', 'second')")] == ["second"]
