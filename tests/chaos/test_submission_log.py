"""Ledgers that were restored, truncated or lost: the submission log knows the paid tasks, and none is paid again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.shop import Shop
from tests.chaos.vendor import Pair, Vendor
from tests.http.scripted import Act, Request
from tests.http.scripted_replies import close, ok, reply
from tests.ports import callback_options
from tests.processes import started


def log_of(shop: Shop) -> Path:
    [path] = (shop.folder / "state" / "batchswap").glob("submits-*.jsonl")
    return path


def lines(shop: Shop) -> list[dict[str, object]]:
    return [json.loads(line) for line in log_of(shop).read_text().splitlines()]


def run(shop: Shop, *more: str) -> int:
    done = shop.process("--rate", "none", *more)
    return done.returncode


def rebuild(shop: Shop, *manifests: str) -> str:
    place = ["--db", str(shop.folder / "b.db"), "--out", str(shop.folder / "out"), "--base-url", shop.vendor.url]
    done = shop.call("rebuild", *manifests, *place)
    assert done.exit_code == 0, done.output
    return done.output


def refused(shop: Shop, count: int) -> None:
    """Check that a run names the fault and its repair, and sends nothing."""
    before = shop.vendor.requests()
    done = shop.process("--rate", "none")
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert f"the ledger is an older copy, or its -wal file was removed: {count} submitted task" in said
    assert f"`batchswap rebuild --out {shop.folder}/out --db {shop.folder}/b.db`" in said
    assert shop.vendor.requests() == before


def restored(shop: Shop, copy: bytes) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{shop.folder}/b.db{end}").unlink(missing_ok=True)
    (shop.folder / "b.db").write_bytes(copy)


def test_a_restored_backup_is_refused_and_after_the_command_nothing_is_paid_again(old_shop: Shop) -> None:
    pairs = old_shop.rows(8)
    assert (
        old_shop.call("backup", str(old_shop.folder / "b.copy"), "--db", str(old_shop.folder / "b.db")).exit_code == 0
    )
    copy = (old_shop.folder / "b.copy").read_bytes()
    assert run(old_shop) == 0
    shutil.move(old_shop.folder / "out", old_shop.folder / "delivered")
    restored(old_shop, copy)
    refused(old_shop, 8)
    rebuild(old_shop)
    assert run(old_shop) == 0
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    assert old_shop.results() == old_shop.expected(pairs)


def test_a_restored_ledger_that_knew_its_rows_is_repaired_too(old_shop: Shop) -> None:
    """The results still exist, so the tasks are done without a request."""
    pairs = old_shop.rows(8)
    assert run(old_shop, "--limit", "2") == 0
    copy = (old_shop.folder / "b.db.bak").read_bytes()
    assert run(old_shop) == 0
    restored(old_shop, copy)
    refused(old_shop, 6)
    assert "6 submitted tasks attached, 6 with a result" in rebuild(old_shop)
    before = old_shop.vendor.requests()
    assert run(old_shop) == 0
    assert old_shop.vendor.requests() == before
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    assert old_shop.select("select distinct state, sha256 is not null from tasks where key like 'r%'") == [("done", 1)]


class KillAt:
    """Kills the client at the `number`-th request of a kind, after the API has accepted it."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.left = kind, number

    def __call__(self, vendor: Vendor, kind: str, request: Request) -> Act | None:
        self.left -= kind == self.kind
        if self.left or kind != self.kind:
            return None
        vendor.accept(request)
        vendor.kill()
        return close()


@pytest.mark.parametrize("is_old", [True, False])
def test_a_wal_removed_after_a_kill_is_noticed(shop: Shop, old_shop: Shop, is_old: bool) -> None:
    """Also for a ledger that the killed run had created."""
    if not is_old:
        (shop.folder / "b.db").unlink()
    pairs = shop.rows(8)
    shop.vendor.spoil = KillAt("submit", 5)
    assert run(shop) == -signal.SIGKILL
    sent = len([line for line in lines(shop) if line["what"] == "sent" and str(line["key"]).startswith("r")])
    for end in ("-wal", "-shm"):
        Path(f"{shop.folder}/b.db{end}").unlink()
    refused(shop, sent)
    rebuild(shop)
    finish(shop, pairs)


def finish(shop: Shop, pairs: list[Pair], *more: str) -> None:
    """Run to the end, and resolve uncertain tasks from the API's records."""
    assert run(shop, *more) in (0, 4)
    for (key,) in shop.select("select key from tasks where state = 'uncertain'"):
        pair = pairs[int(key[1:])]
        ids = [task_id for task_id, (accepted, _, _) in shop.vendor.tasks.items() if accepted == pair]
        word = ["--task-id", ids[0]] if ids else ["--not-accepted"]
        assert shop.call("resolve", key, "--db", str(shop.folder / "b.db"), "--rate", "none", *word).exit_code == 0
    assert run(shop, *more) == 0
    assert shop.vendor.accepted == dict.fromkeys(pairs, 1)
    assert shop.results() == shop.expected(pairs)


@pytest.mark.parametrize("are_results_left", [True, False])
def test_a_lost_disk_costs_nothing_twice(old_shop: Shop, are_results_left: bool) -> None:
    pairs = old_shop.rows(6)
    assert run(old_shop) == 0
    for path in old_shop.folder.glob("b.db*"):
        path.unlink()
    if not are_results_left:
        shutil.rmtree(old_shop.folder / "out")
    said = rebuild(old_shop, str(old_shop.folder / "spring.csv"))
    assert f"attached, {6 if are_results_left else 0} with a result" in said
    before = old_shop.vendor.requests("submit")
    assert run(old_shop) == 0
    assert old_shop.vendor.requests("submit") == before
    assert old_shop.results() == old_shop.expected(pairs)


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_a_new_ledger_for_rows_that_a_lost_one_submitted_is_reported_with_the_command(
    old_shop: Shop, options: tuple[str, ...]
) -> None:
    """Such as one in another working directory, from cron. Two ledgers with the same rows are no error."""
    pairs = old_shop.rows(6)
    assert run(old_shop) == 0
    for path in old_shop.folder.glob("b.db*"):
        path.unlink()
    shutil.rmtree(old_shop.folder / "out")
    said = old_shop.process("--rate", "none", "--limit", "0", *options).stderr.decode()
    place = f"--out {old_shop.folder}/out --db {old_shop.folder}/b.db"
    assert "6 rows of these manifests (spring/r0, spring/r1, spring/r2 …) were submitted before" in said
    assert f"`batchswap rebuild {place}` attaches what was submitted" in said
    rebuild(old_shop)
    again = old_shop.process("--rate", "none")
    assert (again.returncode, b"submitted before" in again.stderr) == (0, False)
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    assert old_shop.results() == old_shop.expected(pairs)


def test_a_rebuilt_ledger_is_the_lost_one_to_an_older_copy(old_shop: Shop) -> None:
    """A copy that appears later lacks the submits of the rebuilt ledger."""
    pairs = old_shop.rows(4)
    assert run(old_shop, "--limit", "2") == 0
    copy = (old_shop.folder / "b.db.bak").read_bytes()
    for path in old_shop.folder.glob("b.db*"):
        path.unlink()
    rebuild(old_shop, str(old_shop.folder / "spring.csv"))
    assert run(old_shop, *callback_options()) == 0
    restored(old_shop, copy)
    refused(old_shop, 2)
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)


def test_another_file_is_not_used_as_the_result(old_shop: Shop) -> None:
    old_shop.rows(2)
    assert run(old_shop) == 0
    for path in old_shop.folder.glob("b.db*"):
        path.unlink()
    (old_shop.folder / "out/spring/r1.mp4").write_bytes(b"another file")
    assert "attached, 1 with a result" in rebuild(old_shop, str(old_shop.folder / "spring.csv"))
    assert old_shop.select("select key, state from tasks where key like 'r%' order by key") == [
        ("r0", "done"),
        ("r1", "running"),
    ]


def test_an_answer_that_the_ledger_did_not_record_is_taken_from_the_log(old_shop: Shop) -> None:
    pairs = old_shop.rows(5)
    point = "batchswap.ledger.transitions:accepted@before#3"
    # With three in flight, no other submit waits for its answer at that point.
    assert old_shop.process("--rate", "none", "--in-flight", "3", point=point).returncode == -signal.SIGKILL
    assert run(old_shop) == 0  # nothing is uncertain
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    assert old_shop.results() == old_shop.expected(pairs)


@pytest.mark.parametrize(
    "point",
    [
        "batchswap.ledger.submission_log.log:SubmissionLog.reserve@before#3",
        "batchswap.ledger.submission_log.log:SubmissionLog.reserve@after#3",
        "batchswap.ledger.submission_log.log:SubmissionLog.note@before#3",
        "batchswap.ledger.submission_log.log:SubmissionLog.note@after#3",
        "batchswap.ledger.submission_log.log:SubmissionLog.note@after#9",
        "batchswap.ledger.submission_log.position:advance@before#1",
        "batchswap.ledger.submission_log.position:advance@after#1",
        "batchswap.ledger.file.backup:_fill@after#1",
        "batchswap.ledger.submission_log.log:SubmissionLog.close@before#1",
    ],
)
@pytest.mark.parametrize("options", [(), ("--budget-per-day", "100")])
def test_killed_between_the_log_and_the_ledger(old_shop: Shop, point: str, options: tuple[str, ...]) -> None:
    """The next run continues: it does not mistake the ledger for an older copy."""
    pairs = old_shop.rows(5)
    assert old_shop.process("--rate", "none", *options, point=point).returncode == -signal.SIGKILL
    finish(old_shop, pairs, *options)


@pytest.mark.parametrize(
    "point",
    [
        "",
        "batchswap.ledger.submission_log.adoption:attach_kept@after",
        "batchswap.ledger.submission_log.adoption:keep@after",
    ],
)
def test_rebuild_can_be_killed_and_done_again(old_shop: Shop, point: str) -> None:
    pairs = old_shop.rows(4)
    copy = (old_shop.folder / "b.db").read_bytes()
    assert run(old_shop) == 0
    restored(old_shop, copy)
    if point:
        killed = old_shop.command(
            "rebuild", "--db", "b.db", "--out", "out", "--base-url", old_shop.vendor.url, point=point
        )
        assert killed.returncode == -signal.SIGKILL
    rebuild(old_shop)
    assert run(old_shop) == 0
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)


def test_plan_status_and_doctor_name_a_ledger_that_is_behind(old_shop: Shop) -> None:
    old_shop.rows(3)
    copy = (old_shop.folder / "b.db").read_bytes()
    assert run(old_shop) == 0
    restored(old_shop, copy)
    db = ["--db", str(old_shop.folder / "b.db")]
    manifest, out = str(old_shop.folder / "spring.csv"), ["--out", str(old_shop.folder / "out")]
    check = ["check", manifest, *db, *out]
    for arguments in (["status", *db], ["doctor", *db], old_shop.arguments("--dry-run"), check):
        said = old_shop.call(*arguments)
        assert "the ledger is an older copy, or its -wal file was removed: 3 submitted tasks" in said.output, (
            said.output
        )
        assert "batchswap rebuild" in said.output
    assert json.loads(old_shop.call("status", *db, "--json").stdout)["behind"] == 3
    rebuild(old_shop)
    assert "is behind" not in old_shop.call("status", *db).output


@pytest.mark.parametrize("is_same_ledger", [True, False])
def test_ledgers_with_one_key_share_the_day_in_all_time_zones(shop: Shop, is_same_ledger: bool) -> None:
    """The first run determines the day."""
    shop.rows(5)
    assert run(shop, "--budget-per-day", "3", *callback_options()) == 6
    assert shop.vendor.accepted.total() == 3
    if not is_same_ledger:
        (shop.folder / "b.db").rename(shop.folder / "first.db")
    for zone in ("Pacific/Kiritimati", "Pacific/Niue", "UTC"):
        done = shop.process("--rate", "none", "--budget-per-day", "3", *callback_options(), zone=zone)
        assert done.returncode == 6, done.stderr
    assert shop.vendor.accepted.total() == 3
    assert [line["what"] for line in lines(shop)].count("day") == 1


def test_refused_submits_do_not_use_up_the_day(shop: Shop) -> None:
    shop.rows(5)
    left = [3]

    def spoil(_: Vendor, kind: str, __: Request) -> Act | None:
        if kind != "submit" or not left[0]:
            return None
        left[0] -= 1
        return reply(json=ok(None, 422, "no"))

    shop.vendor.spoil = spoil
    assert run(shop, "--budget-per-day", "2", "--in-flight", "1", *callback_options()) == 3
    assert shop.vendor.accepted.total() == 2


def test_two_runs_at_once_do_not_overspend_the_day(shop: Shop) -> None:
    """Each has its own ledger, and a budget that a single run would use up."""
    shop.rows(12)
    place = ["--out", "out", "--provider", "crun", "--base-url", shop.vendor.url, "--min-free", "0", "--rate", "none"]
    each = ["run", "spring.csv", *place, "--budget-per-day", "7"]
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                started(
                    [sys.executable, "-m", "batchswap", *each, "--db", f"{n}.db", "--batch", n, *callback_options()],
                    cwd=shop.folder, env=shop.environment(), stderr=subprocess.DEVNULL,
                )
            )
            for n in ("one", "two")
        ]  # fmt: skip
        assert [process.wait(60) for process in both] == [6, 6]
    assert shop.vendor.accepted.total() == 7


@pytest.mark.parametrize(
    "content", [b"\0" * 5000, b"{" * 10_000_000, b'{"at":1,"what":"sent"', b"[]\n{}\n\xff\xfe\n", b""]
)
def test_garbage_in_the_log_affects_no_other_line(old_shop: Shop, content: bytes) -> None:
    old_shop.rows(3)
    copy = (old_shop.folder / "b.db").read_bytes()
    assert run(old_shop, "--limit", "1") == 0
    with log_of(old_shop).open("ab") as file:
        file.write(content)
    assert run(old_shop) == 0
    restored(old_shop, copy)
    refused(old_shop, 3)
    rebuild(old_shop)


@pytest.mark.parametrize("kind", ["missing", "a file", "fifo", "folder"])
def test_without_a_log_the_run_continues_and_warns_once(old_shop: Shop, kind: str) -> None:
    pairs = old_shop.rows(3)
    assert run(old_shop, "--limit", "1") == 0
    path = log_of(old_shop)
    match kind:
        case "missing":
            shutil.rmtree(path.parent)
        case "a file":
            path.write_bytes(b"")
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "folder":
            path.unlink()
            path.mkdir()
    done = old_shop.process("--rate", "none", "-q")
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert said.count("the submission log") >= 1
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    if kind in ("missing", "a file"):
        assert "the submission log" not in old_shop.process("--rate", "none").stderr.decode()


def test_a_month_later_both_files_count_and_a_year_later_the_old_one_is_deleted(old_shop: Shop) -> None:
    old_shop.rows(3)
    copy = (old_shop.folder / "b.db").read_bytes()
    assert run(old_shop, "--limit", "1") == 0
    path = log_of(old_shop)
    old = path.with_name(path.name[:21] + time.strftime("%Y-%m", time.gmtime(time.time() - 40 * 86400)) + ".jsonl")
    path.rename(old)
    ancient = path.with_name(path.name[:21] + "2020-01.jsonl")
    ancient.write_bytes(b"")
    assert run(old_shop) == 0
    assert path.exists()
    assert old.exists()
    assert not ancient.exists()
    restored(old_shop, copy)
    refused(old_shop, 3)


def test_no_secret_and_no_url_in_the_log(old_shop: Shop) -> None:
    old_shop.rows(3)
    assert run(old_shop) == 0
    path = log_of(old_shop)
    content = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert old_shop.key not in content
    assert "http" not in content
    assert "SIGNATURE" not in content
