"""The ledger is removed, moved, linked, replaced or overwritten while a run uses it: nothing is paid twice or lost."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor
from tests.http.scripted import Act, Request
from tests.processes import Process, started
from tests.waits import wait_until

ROWS = 12
PAID = 4
"""Number of tasks that are accepted before the ledger is harmed."""
Harm = Callable[[Path], None]
"""Does something to the ledger at this path."""


def command(shop: Shop, *more: str, db: Path | None = None) -> list[str]:
    place = ["--db", str(db)] if db else []
    arguments = shop.arguments("--rate", "none", "--workers", "1", *more, *place)
    return [sys.executable, "-m", "batchswap", *arguments]


@contextmanager
def harmed(shop: Shop, harm: Harm, db: Path | None = None, *more: str, cwd: Path | None = None) -> Iterator[Process]:
    """Run with a ledger that is harmed during the submit after PAID others."""
    done: list[bool] = []

    def spoil(vendor: Vendor, kind: str, request: Request) -> Act | None:
        if kind == "submit" and len(vendor.tasks) >= PAID and not done:
            done.append(True)
            harm(db or shop.folder / "b.db")
        return None

    shop.rows(ROWS)
    shop.vendor.spoil = spoil
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command(shop, *more, db=db), cwd=cwd or shop.folder, env=shop.environment(), **pipes) as process:
        yield process


def call(shop: Shop, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run another command at the same time or afterwards."""
    return subprocess.run(
        arguments, cwd=shop.folder, env=shop.environment(), capture_output=True, text=True, timeout=60, check=False
    )


def rename(path: Path, name: Path) -> None:
    path.rename(name)


def to_end(shop: Shop, harm: Harm, db: Path | None = None, *more: str) -> str:
    """Check the messages and the end of such a run."""
    with harmed(shop, harm, db, *more) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "batchswap run` creates it" not in err
    assert len(shop.vendor.tasks) == PAID + 1, "no submit after the one that was on its way"
    return err


def again(shop: Shop, db: Path) -> None:
    """Check that the next run with this ledger finishes everything and pays nothing twice."""
    done = call(shop, *command(shop, db=db))
    assert done.returncode == 0, done.stderr
    assert (len(shop.vendor.accepted), set(shop.vendor.accepted.values())) == (ROWS, {1})
    with closing(sqlite3.connect(db)) as ledger:
        assert ledger.execute("pragma integrity_check").fetchone() == ("ok",)
        assert ledger.execute("select count(*) from tasks where state = 'done'").fetchone() == (ROWS,)


def remove(path: Path) -> None:
    path.unlink()


def remove_all(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def remove_index(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def replace_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()
    Path(f"{path}-wal").touch()


@pytest.mark.parametrize("harm", [remove, remove_all, move, remove_log, remove_index, replace_log])
def test_a_run_writes_its_knowledge_back_under_the_ledgers_name(shop: Shop, harm: Harm) -> None:
    err = to_end(shop, harm, None, "-q")
    assert "b.db" in err
    assert "the ledger was written back to" in err
    again(shop, shop.folder / "b.db")


@pytest.mark.parametrize("how", ["moved", "linked"])
def test_a_ledger_is_held_under_each_name_and_a_moved_one_is_complete(shop: Shop, how: str) -> None:
    """Another run, and each command that changes the ledger, respects the lock."""
    shop.vendor.seconds = 60.0
    moved, link = shop.folder / "moved.db", shop.folder / "link.db"
    link.symlink_to(shop.folder / "b.db")
    with harmed(shop, move if how == "moved" else lambda _: None) as process:
        wait_until(lambda: len(shop.vendor.tasks) > PAID, "the task that is paid next")
        other = moved if how == "moved" else link
        words = [["retry"], ["cancel", "--batch", "spring"], ["resolve", "r0", "--not-accepted"]]
        commands = [[sys.executable, "-m", "batchswap", *word, "--db", str(other)] for word in words]
        for each in (command(shop, db=other), *commands):
            assert call(shop, *each).returncode == 75, each
        shop.vendor.seconds = 0.0
        process.communicate(timeout=60)
    assert process.returncode == (1 if how == "moved" else 0)
    again(shop, other)


def test_a_folder_that_is_moved_away_is_made_again(shop: Shop) -> None:
    db = shop.folder / "deep" / "b.db"
    to_end(shop, lambda path: rename(path.parent, shop.folder / "elsewhere"), db)
    again(shop, db)


def test_moving_the_folder_of_a_run_is_harmless(shop: Shop) -> None:
    folder, moved = shop.folder / "work", shop.folder / "moved"
    folder.mkdir()
    with harmed(shop, lambda _: rename(folder, moved), Path("b.db"), cwd=folder) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (len(shop.vendor.accepted), set(shop.vendor.accepted.values())) == (ROWS, {1})
    assert known(moved / "b.db") == ROWS


def test_a_second_name_stops_submits_and_is_refused_until_it_is_removed(shop: Shop) -> None:
    other = shop.folder / "other.db"
    err = to_end(shop, other.hardlink_to)
    assert "second name" in err
    for db in (shop.folder / "b.db", other):
        assert call(shop, *command(shop, db=db)).returncode == 2
    other.unlink()
    again(shop, shop.folder / "b.db")


def test_a_changed_link_loses_nothing(shop: Shop) -> None:
    real, link = shop.folder / "real.db", shop.folder / "link.db"
    link.symlink_to(real)

    def turn(path: Path) -> None:
        path.unlink()
        path.symlink_to(shop.folder / "another.db")

    assert f"the ledger is still at {real}" in to_end(shop, turn, link)
    again(shop, real)


def older(shop: Shop) -> Path:
    """Make a ledger from before all submits."""
    path = shop.folder / "older.db"
    shop.rows(ROWS)
    assert call(shop, *command(shop, "--limit", "0", db=path)).returncode == 0
    return path


@pytest.mark.parametrize("how", ["renamed over it", "copied over it"])
def test_a_run_saves_its_knowledge_next_to_a_restored_ledger(shop: Shop, how: str) -> None:
    path = older(shop)
    content = path.read_bytes()

    def restore(db: Path) -> None:
        if how == "renamed over it":
            path.rename(db)
        else:
            shutil.copyfile(path, db)
            os.utime(db, (1, 1))

    err = to_end(shop, restore)
    saved = shop.folder / "b.saved.db"
    assert f"--db {saved}" in err
    assert (shop.folder / "b.db").read_bytes() == content, "what was restored is left alone"
    assert not (shop.folder / "b.db-wal").exists()
    again(shop, saved)


def test_the_ids_of_paid_tasks_are_shown_when_the_ledger_was_emptied(shop: Shop) -> None:
    """Nothing can be saved, because only that file had the contents."""
    shop.vendor.seconds = 60.0
    err = to_end(shop, lambda path: os.truncate(path, 0), None, "-q")
    assert "was overwritten" in err
    assert all(task_id in err for task_id in shop.vendor.tasks)


def test_without_a_place_to_save_a_run_says_so_and_fetches_paid_results(shop: Shop) -> None:
    db = shop.folder / "deep" / "b.db"

    def block(path: Path) -> None:
        shutil.rmtree(path.parent)
        path.parent.touch()

    assert "the records of this run cannot be saved" in to_end(shop, block, db, "-q")
    assert len(shop.results()) == PAID + 1


def test_after_the_rescue_a_kill_loses_nothing_more(shop: Shop) -> None:
    shop.vendor.seconds = 60.0
    with harmed(shop, remove_all) as process:
        wait_until(lambda: known(shop.folder / "b.db") > PAID, "its id in the rescued ledger")
        process.kill()
        process.communicate(timeout=60)
    assert len(shop.vendor.tasks) == PAID + 1
    shop.vendor.seconds = 0.0
    again(shop, shop.folder / "b.db")


def known(path: Path) -> int:
    """Return the attempts whose ids are in the ledger."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute("select count(*) from attempts where remote_id is not null").fetchone()[0])
    except sqlite3.Error:
        return 0
