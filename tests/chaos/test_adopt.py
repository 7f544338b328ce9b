"""`adopt` attaches only tasks that the API has, and `backup` copies only ledgers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result

from tests.chaos.shop import Shop
from tests.chaos.vendor import Pair
from tests.ports import callback_options
from tests.processes import started
from tests.waits import wait_until


def paid_elsewhere(shop: Shop, count: int) -> list[Pair]:
    """Make a ledger whose rows were submitted from another one, and delete the log."""
    pairs = shop.rows(count)
    other = ["run", str(shop.folder / "spring.csv"), "--db", str(shop.folder / "other.db"), "--no-backup"]
    place = [
        "--out",
        str(shop.folder / "elsewhere"),
        "--base-url",
        shop.vendor.url,
        "--min-free",
        "0",
        "--rate",
        "none",
    ]
    assert shop.call(*other, *place, *callback_options()).exit_code == 0
    for path in (shop.folder / "state" / "batchswap").glob("submits-*"):
        path.rename(shop.folder / path.name)
    # The ledger gets its rows. They stay queued, because the API accepts no more.
    assert shop.run("--rate", "none", "--budget", "0").exit_code == 6
    return pairs


def adopt(shop: Shop, *arguments: str) -> Result:
    place = ["--db", str(shop.folder / "b.db"), "--base-url", shop.vendor.url, "--rate", "none"]
    return shop.call("adopt", *arguments, *place)


def id_of(shop: Shop, pair: Pair) -> str:
    return next(task_id for task_id, (accepted, _, _) in shop.vendor.tasks.items() if accepted == pair)


def finish(shop: Shop, pairs: list[Pair]) -> None:
    assert shop.run("--rate", "none", *callback_options()).exit_code == 0
    assert shop.vendor.accepted == dict.fromkeys(pairs, 1)
    assert shop.results() == shop.expected(pairs)


def test_a_key_and_its_task_id_are_adopted(shop: Shop) -> None:
    pairs = paid_elsewhere(shop, 1)
    assert adopt(shop, "r0", id_of(shop, pairs[0])).exit_code == 0
    finish(shop, pairs)


def test_a_file_of_keys_and_task_ids_is_adopted(shop: Shop) -> None:
    pairs = paid_elsewhere(shop, 3)
    rows = [f"r{i},{id_of(shop, pair)},spring" for i, pair in enumerate(pairs)]
    (shop.folder / "ids.csv").write_text("\n".join(["key,task_id,batch", *rows, ""]))
    assert adopt(shop, "--from", str(shop.folder / "ids.csv")).exit_code == 0
    finish(shop, pairs)


def test_a_submission_log_is_adopted(shop: Shop) -> None:
    pairs = paid_elsewhere(shop, 3)
    [log] = shop.folder.glob("submits-*")
    assert adopt(shop, "--from", str(log)).exit_code == 0
    finish(shop, pairs)


def test_a_wrong_task_is_refused_and_changes_nothing(shop: Shop) -> None:
    pairs = paid_elsewhere(shop, 2)
    first, second = (id_of(shop, pair) for pair in pairs)
    before = shop.vendor.requests("submit")
    for arguments, words in (
        (("r0", second), "has other inputs than"),
        (("r0", "no-such-id"), "does not know a task"),
        (("r9", first), 'there is no task "r9"'),
        (("r0",), "give a KEY and its TASK_ID"),
        ((), "give a KEY and its TASK_ID"),
    ):
        said = adopt(shop, *arguments)
        assert said.exit_code == 2, said.output
        assert words in said.output
    assert shop.select("select distinct state from tasks") == [("queued",)]
    assert adopt(shop, "r0", first).exit_code == 0
    assert (
        "belongs to another task" in adopt(shop, "r1", first).output
        or "other inputs" in adopt(shop, "r1", first).output
    )
    assert shop.vendor.requests("submit") == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("key,id\nr0,x\n", ":1: the columns must be"),
        ("key,task_id\nr0,\n", ":2: needs a key and a task id"),
        ("key,task_id\nr0,a\nr0,b\n", "r0 occurs twice"),
        ("key,task_id\nr0,a\nr1,a\n", "a occurs twice"),
        ("key,task_id\n", "has no rows"),
    ],
)
def test_a_malformed_file_is_refused(shop: Shop, content: str, words: str) -> None:
    (shop.folder / "ids.csv").write_text(content)
    said = adopt(shop, "--from", str(shop.folder / "ids.csv"))
    assert said.exit_code == 2
    assert words in said.output


def backup(shop: Shop, target: Path) -> Result:
    return shop.call("backup", str(target), "--db", str(shop.folder / "b.db"))


def test_a_backup_replaces_only_copies(old_shop: Shop) -> None:
    ledger, copy, other = (old_shop.folder / name for name in ("b.db", "copy.db", "other"))
    assert backup(old_shop, copy).exit_code == 0
    assert backup(old_shop, copy).exit_code == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    other.write_text("mine")
    link = old_shop.folder / "link"
    link.symlink_to(ledger)
    for target in (other, ledger, link, Path(f"{ledger}-wal")):
        assert backup(old_shop, target).exit_code == 2, target
    assert other.read_text() == "mine"
    assert not [path for path in old_shop.folder.iterdir() if path.name.endswith(".part")]


def test_a_backup_during_a_run_is_a_sound_ledger(old_shop: Shop) -> None:
    old_shop.rows(30)
    command = [sys.executable, "-m", "batchswap", *old_shop.arguments("--rate", "none", "--in-flight", "2")]
    with started(command, cwd=old_shop.folder, env=old_shop.environment(), stderr=subprocess.DEVNULL) as run:

        def is_over() -> bool:
            assert backup(old_shop, old_shop.folder / "copy.db").exit_code == 0
            return run.poll() is not None

        wait_until(is_over, "the end of the run", 60.0, pause=0.0)
    assert run.returncode == 0
    assert old_shop.call("status", "--db", str(old_shop.folder / "copy.db")).exit_code == 0


def test_a_run_leaves_a_copy_unless_it_changed_nothing(old_shop: Shop) -> None:
    copy = old_shop.folder / "b.db.bak"
    old_shop.rows(2)
    assert old_shop.run("--rate", "none", "--no-backup").exit_code == 0
    assert not copy.exists()
    old_shop.rows(3)
    assert old_shop.run("--rate", "none").exit_code == 0
    at = copy.stat().st_mtime_ns
    assert old_shop.run("--rate", "none").exit_code == 0
    assert copy.stat().st_mtime_ns == at
    copy.write_text("another file")
    old_shop.rows(4)
    said = old_shop.run("--rate", "none")
    assert said.exit_code == 0
    assert "the ledger was not copied" in said.output
    assert os.access(copy, os.R_OK)
    assert copy.read_text() == "another file"
