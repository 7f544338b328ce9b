"""Opening a ledger: a wrong file is refused with a clear message and is not changed."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from batchswap.errors import Exit, LedgerBusy, LedgerError, LedgerFailed, LedgerFull
from batchswap.ledger import schema
from batchswap.ledger.file import backup, connection, lock
from batchswap.ledger.file.connection import APPLICATION_ID, VERSION
from batchswap.sqlite_errors import in_words


def test_a_new_ledger_is_private_durable_and_of_this_version(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "b.db"
    connection.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(connection.connect(path, write=True)) as db:
        assert db.execute("pragma journal_mode").fetchone() == ("wal",)
        assert db.execute("pragma synchronous").fetchone() == (2,)
        assert db.execute("pragma application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("pragma user_version").fetchone() == (VERSION,)


def test_a_ledger_that_is_being_created_is_not_taken_for_another_file(tmp_path: Path) -> None:
    words = set[str]()

    def look(path: Path) -> None:
        while not connection.exists(path):
            pass
        while True:
            try:
                connection.connect(path, write=False).close()
            except LedgerError as error:
                words.add(str(error).removeprefix(f"{path}: "))
            else:
                return

    for number in range(10):
        path = tmp_path / f"{number}.db"
        with ThreadPoolExecutor(3) as threads:
            readers = [threads.submit(look, path) for _ in range(3)]
            connection.create(path)
            for reader in readers:
                reader.result()
    assert words <= {"is an older ledger (schema 0); `batchswap run` updates it"}


def test_a_ledger_that_others_may_read_is_closed_to_them_and_another_programs_file_is_left_alone(
    tmp_path: Path,
) -> None:
    path, foreign = tmp_path / "b.db", tmp_path / "foreign.db"
    connection.create(path)
    path.chmod(0o644)
    connection.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(sqlite3.connect(foreign)) as db:
        db.execute("create table theirs(x)")
    foreign.chmod(0o644)
    with pytest.raises(LedgerError, match="another program"):
        connection.create(foreign)
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o644


def test_creating_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    connection.create(path)
    with closing(connection.connect(path, write=False)) as db:
        secret = db.execute("select value from meta where name = 'secret'").fetchone()
    connection.create(path)
    with closing(connection.connect(path, write=False)) as db:
        assert db.execute("select value from meta where name = 'secret'").fetchone() == secret


def test_a_file_that_is_not_sqlite_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    path.write_bytes(b"my holiday diary\n" * 100)
    for attempt in (connection.create, lambda p: connection.connect(p, write=True)):
        with pytest.raises(LedgerError, match="not a batchswap ledger"):
            attempt(path)
    assert path.read_bytes() == b"my holiday diary\n" * 100


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table songs(name)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another program"):
        connection.create(path)
    with pytest.raises(LedgerError, match="not a batchswap ledger"):
        connection.connect(path, write=False)
    assert path.read_bytes() == before


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    connection.create(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma user_version = {VERSION + 1}")
    for write in (True, False):
        with pytest.raises(LedgerError, match="newer batchswap"):
            connection.connect(path, write=write)


def test_a_directory_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="not a regular file"):
        connection.create(tmp_path)


def test_a_missing_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be created"):
        connection.create(tmp_path / "file" / "b.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_ledger_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    connection.create(path)
    path.chmod(0o400)
    with pytest.raises(LedgerError):
        connection.connect(path, write=True).execute("begin immediate")


def test_a_full_disk_damages_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    connection.create(path)
    with closing(connection.connect(path, write=True)) as db:
        pages = db.execute("pragma page_count").fetchone()[0]
        db.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(LedgerFull, match="recorded before is intact"), in_words(path):
            db.execute("begin immediate")
            db.execute("insert into meta values('big', zeroblob(10000000))")
        if db.in_transaction:
            db.execute("rollback")
    with closing(connection.connect(path, write=False)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        assert db.execute("select count(*) from meta where name = 'big'").fetchone() == (0,)


def test_a_wrong_file_is_a_usage_error_and_damage_during_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    path.write_bytes(b"my holiday diary\n" * 100)
    with pytest.raises(LedgerError) as wrong:
        connection.connect(path, write=True)
    assert wrong.value.exit is Exit.USAGE
    path.unlink()
    connection.create(path)
    with closing(connection.connect(path, write=True)) as db:
        path.write_bytes(path.read_bytes()[:4096] + b"junk" * 100_000)
        with pytest.raises(LedgerFailed, match="is damaged") as broken, in_words(path, in_use=True):
            db.execute("select count(*) from tasks").fetchall()
    assert broken.value.exit is Exit.UNEXPECTED


@pytest.mark.parametrize("name", [step.name for step in schema.steps._migrations])
def test_an_older_ledger_is_updated(tmp_path: Path, name: str) -> None:
    """A ledger without the last steps, as an older version or a crash leaves it."""
    path = tmp_path / "b.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(f"pragma application_id = {APPLICATION_ID}")
        schema.steps.apply(Database(raw), stop_before=name)
    with pytest.raises(LedgerError, match="older ledger"):
        connection.connect(path, write=False)
    connection.create(path)
    with closing(connection.connect(path, write=False)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        assert schema.steps.pending(Database(db)) == []


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    assert not lock.is_held(path)
    with lock.hold(path, wait=False):
        assert lock.is_held(path)
        with pytest.raises(LedgerBusy, match="another run"), lock.hold(path, wait=False):
            pass
    assert not lock.is_held(path)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize("how", ["symlink", "moved", "its folder moved"])
def test_invariant_10_the_lock_holds_for_the_file_under_any_name(tmp_path: Path, how: str) -> None:
    path = tmp_path / "one" / "b.db"
    connection.create(path)
    with lock.hold(path, wait=False):
        other = tmp_path / "two.db"
        match how:
            case "symlink":
                other.symlink_to(path)
            case "moved":
                path.rename(other)
            case _:
                path.parent.rename(tmp_path / "two")
                other = tmp_path / "two" / "b.db"
        assert lock.is_held(other)
        with pytest.raises(LedgerBusy, match="another run"), lock.hold(other, wait=False):
            pass
    assert not lock.is_held(other)
    with lock.hold(other, wait=False):
        pass
    assert list((tmp_path / "state" / "batchswap" / "ledgers").iterdir()) == []


def test_invariant_10_a_ledger_that_is_created_under_the_lock_is_locked_as_a_file(tmp_path: Path) -> None:
    path, other = tmp_path / "b.db", tmp_path / "c.db"
    with lock.hold(path, wait=False) as pin:
        connection.create(path)
        pin()
        path.rename(other)
        with pytest.raises(LedgerBusy), lock.hold(other, wait=False):
            pass


def test_invariant_10_two_copies_of_a_ledger_are_not_run_at_once(tmp_path: Path) -> None:
    """Both have the same queued rows, and neither knows the submits of the other one."""
    path, other, copy = tmp_path / "a" / "b.db", tmp_path / "other.db", tmp_path / "copy.db"
    connection.create(other)
    with lock.hold(path, wait=False) as pin:
        connection.create(path)
        pin()
        backup.copy(path, copy)
        for _ in range(2):  # a refused attempt does not release the lock
            assert lock.is_held(copy)
            with pytest.raises(LedgerBusy, match="a copy of"), lock.hold(copy, wait=False):
                pass
        with lock.hold(other, wait=False):
            pass
    with lock.hold(copy, wait=False), pytest.raises(LedgerBusy, match="a copy of"), lock.hold(path, wait=False):
        pass
    assert not lock.is_held(path)
    assert list((tmp_path / "state" / "batchswap" / "ledgers").iterdir()) == []


def test_a_ledger_with_two_names_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path, other = tmp_path / "my b.db", tmp_path / "c.db"
    connection.create(path)
    other.hardlink_to(path)
    for each in (path, other):
        with pytest.raises(LedgerError, match="has 2 names") as refused, lock.hold(each, wait=False):
            pass
        assert refused.value.exit is Exit.USAGE
    remedy = str(refused.value).rpartition(": ")[2].strip("`")
    subprocess.run(remedy, shell=True, check=True, timeout=60)
    for each in (path, other):
        with lock.hold(each, wait=False):
            pass


def test_without_a_state_folder_the_name_is_locked_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "b.db"
    connection.create(path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with lock.hold(path, wait=False), pytest.raises(LedgerBusy), lock.hold(path, wait=False):
        pass
    assert "under this name only" in caplog.text


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_reported_and_not_taken_for_another_run(tmp_path: Path, error: str) -> None:
    imports = "from pathlib import Path\nfrom batchswap.ledger.file.lock import hold\n"
    code = f"{imports}with hold(Path('b.db'), wait=True): pass"
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=flock", "-e", f"inject=flock:error={error}"]
    done = subprocess.run(
        [*strace, sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert "LedgerError: b.db: files cannot be locked in its folder" in done.stderr
