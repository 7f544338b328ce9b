"""The file that processes share: if it is damaged, one of them creates it again, and all of them use the new file."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.errors import LedgerFailed
from batchswap.ratelimit.shared_file import Shared
from tests.processes import started
from tests.waits import first_line


class Book:
    """A shared file of lines, with the number of times it was created, and whether it was new."""

    def __init__(self, path: Path) -> None:
        self.begun: list[bool] = []
        self.file = Shared(path, self._begin)

    def _begin(self, db: sqlite3.Connection, is_new: bool) -> None:
        self.begun.append(is_new)
        db.execute("create table if not exists lines(line blob not null)")

    def write(self, line: bytes) -> None:
        self.file.change(lambda db: db.execute("insert into lines values(?)", (line,)))

    def lines(self) -> list[bytes]:
        return self.file.read(lambda db: [line for (line,) in db.execute("select line from lines order by rowid")])

    def close(self) -> None:
        self.file.close()


def checkpoint(path: Path) -> None:
    """Check that the lines are in the file itself."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0


def test_only_an_unused_file_is_new(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "book.db"
    with closing(Book(path)) as one, closing(Book(path)) as two:
        one.write(b"a")
        assert two.lines() == [b"a"]
        assert (one.begun, two.begun) == ([True], [False])
    assert path.stat().st_mode & 0o077 == 0


def test_work_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.execute("insert into lines values(x'00')")
        raise ZeroDivisionError

    with closing(Book(tmp_path / "book.db")) as book:
        with pytest.raises(ZeroDivisionError):
            book.file.change(fail)
        book.write(b"b")
        assert book.lines() == [b"b"]


def test_damage_during_use_is_repaired_during_use(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with closing(Book(path)) as book:
        for _ in range(100):
            book.write(bytes(100_000))  # more than any cache holds
        checkpoint(path)
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"junk" * 2_000_000)
        assert book.lines() == []
        book.write(b"new")
        assert book.lines() == [b"new"]
        assert book.begun == [True, False]


@pytest.mark.parametrize("lose", [lambda path: path.unlink(), lambda path: shutil.rmtree(path.parent)])
def test_a_process_with_the_old_file_open_continues_with_the_new_one(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "state" / "book.db"
    with closing(Book(path)) as one, closing(Book(path)) as two:
        one.write(b"old")
        lose(path)
        two.write(b"a")
        one.write(b"b")
        assert one.lines() == two.lines() == [b"a", b"b"]
        assert (one.begun, two.begun) == ([True, False], [False, False])


HOLDER = """
import fcntl, sys
with open(sys.argv[1], "w") as handle:
    fcntl.lockf(handle, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_no_process_opens_it_while_another_one_may_create_it_again(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    command = [sys.executable, "-c", HOLDER, f"{path}.lock"]
    with (
        started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        assert holder.stdin is not None
        assert first_line(holder.stdout) == "held"
        opening = pool.submit(lambda: Book(path).close())
        assert not wait([opening], timeout=0.2).done
        assert not path.exists()
        holder.stdin.close()
        opening.result(10)


def test_a_file_that_stays_locked_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchswap.ratelimit.shared_file._PATIENCE", 0.1)
    path = tmp_path / "book.db"
    with closing(Book(path)) as book, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(LedgerFailed, match="another program keeps it locked"):
            book.write(b"a")
        other.execute("commit")
        book.write(b"b")
        assert book.lines() == [b"b"]
