"""`review`: judgements are free and undone by the next one, no file is lost, and a redo is paid by the user's word."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchswap.ledger import deliveries
from batchswap.ledger.deliveries import Delivered
from batchswap.ledger.transitions import Stamp
from batchswap.states import Quality
from tests.cli.conftest import Place, call, work
from tests.cli.test_duplicates import submits

FILE = Path("results/spring/r0.mp4")
AWAY = Path("results/rejected/spring/r0.mp4")


@pytest.fixture
def done(shop: Place) -> str:
    """Return a manifest with three results."""
    name = shop.manifest("spring.csv", 3)
    assert work(name).exit_code == 0
    return name


def tasks(*filters: str) -> dict[str, dict[str, Any]]:
    found = json.loads(call("tasks", "--format", "json", *filters).stdout)
    return {each["key"]: each for each in found}


def review(*arguments: str) -> str:
    """Return the last line of a review that succeeds."""
    said = call("review", *arguments)
    assert said.exit_code == 0, said.stderr
    return said.stderr.splitlines()[-1]


def event_names(key: str) -> list[str]:
    return [each["event"] for each in json.loads(call("show", key, "--json").stdout)["events"]]


def test_reject_moves_the_file_and_reset_moves_it_back(done: str) -> None:
    content = FILE.read_bytes()
    assert review("--reject", "r0", "--note", "wrong person").startswith("1 result rejected; moved to /")
    assert (FILE.exists(), AWAY.read_bytes()) == (False, content)
    shown = tasks()["r0"]
    assert (shown["review"], shown["file"], shown["state"]) == ("rejected", "rejected/spring/r0.mp4", "done")
    assert "review: rejected, wrong person" in call("show", "r0").stdout
    assert "  swap: unknown\n" in call("show", "r0").stdout
    assert review("--reset", "r0") == "1 result no longer judged"
    assert (FILE.read_bytes(), AWAY.exists()) == (content, False)
    assert (tasks()["r0"]["review"], tasks()["r0"]["file"]) == ("", "spring/r0.mp4")
    assert event_names("r0")[-2:] == ["review-rejected", "review-reset"]


def test_a_rejected_result_is_not_missing_and_not_a_reason_to_run(done: str) -> None:
    review("--reject", "r0", "r1")
    assert "missing" not in call("status").stdout
    assert "0 tasks queued again" in call("retry", "--state", "done").stderr
    assert submits(done) == 0
    AWAY.unlink()
    assert "missing" not in call("status").stdout
    assert "only failed and cancelled tasks can be retried" in call("retry", "r1").stderr


def test_the_list_can_be_limited_to_reviews_and_qualities(done: str) -> None:
    review("--reject", "r0")
    review("--accept", "r1")
    with closing(sqlite3.connect("batchswap.db", isolation_level=None)) as db:
        [(task_id,)] = db.execute("select id from tasks where key = 'r2'")
        deliveries.record(db, Stamp(1.0, None), task_id, Delivered("x", Quality.PARTLY, 0.62, 0.5, b'{"reason": "a"}'))
    found = {name: list(tasks("--review", name)) for name in ("rejected", "accepted", "none")}
    assert found == {"rejected": ["r0"], "accepted": ["r1"], "none": ["r2"]}
    assert list(tasks("--quality", "partly", "--quality", "swapped")) == ["r2"]
    assert list(tasks("--quality", "unknown")) == ["r0", "r1"]
    line = tasks()["r2"]
    assert (line["quality"], line["swap_score"], line["signed"], line["key_name"]) == ("partly", 0.5, False, None)
    head, *_, last = call("tasks", "--format", "csv").stdout.splitlines()
    assert head.endswith(",extra,quality,swap_score,review,signed,key_name,withdrawn")
    assert last.endswith(",partly,0.5,,False,,False")
    assert "  swap: partly (62 %), score 0.50\n    a\n" in call("show", "r2").stdout


def test_a_taken_name_gets_a_number_and_nothing_is_replaced(done: str) -> None:
    AWAY.parent.mkdir(parents=True)
    AWAY.write_text("another file")
    content = FILE.read_bytes()
    review("--reject", "r0")
    assert (AWAY.read_text(), AWAY.with_name("r0-2.mp4").read_bytes()) == ("another file", content)
    FILE.write_text("a third file")
    refused = call("review", "--accept", "r0")
    assert refused.exit_code == 2
    words = "r0.mp4 exists and is another file: move it away, then repeat the command"
    assert words in refused.stderr
    assert tasks()["r0"]["review"] == "rejected"
    FILE.unlink()
    review("--accept", "r0")
    assert FILE.read_bytes() == content


def test_no_file_leaves_the_folder_of_the_results(done: str) -> None:
    Path("results/rejected").write_text("a file")
    assert "r0.mp4 cannot be written: Not a directory" in call("review", "--reject", "r0").stderr
    Path("results/rejected").unlink()
    Path("elsewhere").mkdir()
    Path("results/rejected").symlink_to(Path("elsewhere").resolve())
    refused = call("review", "--redo", "--yes", "r0")
    assert (refused.exit_code, "is not a path below" in refused.stderr) == (2, True)
    assert (FILE.exists(), tasks()["r0"]["state"], tasks()["r0"]["review"]) == (True, "done", "")


def test_the_place_of_another_row_is_left_free_and_odd_names_work(shop: Place) -> None:
    rows = (("-x", "top.mp4"), ("b c", "rejected/top.mp4"), ("ü/é", "d/e.mp4"))
    lines = [f"{key},{shop.video(f'v{n}.mp4', key)},face.png,{output}" for n, (key, output) in enumerate(rows)]
    Path("m.csv").write_text("\n".join(["id,video,face,output", *lines, ""]))
    assert work("m.csv").exit_code == 0
    review("--reject", "--", "-x", "b c", "ü/é")
    found = {key: each["file"] for key, each in tasks().items()}
    assert found == {"-x": "rejected/top-2.mp4", "b c": "rejected/rejected/top.mp4", "ü/é": "rejected/d/e.mp4"}
    assert all(Path("results", name).exists() for name in found.values())
    review("--reset", "--", "-x", "b c", "ü/é")
    assert {key: each["file"] for key, each in tasks().items()} == dict(rows)


def test_a_note_is_one_printable_line_without_secrets(done: str) -> None:
    review("--reject", "r0", "--note", "\x1b[31mred\n" + "ak_" + "s" * 32 + " https://a/b?sig=1 " + "x" * 3000)
    note = json.loads(call("show", "r0", "--json").stdout)["note"]
    assert (note.startswith("[31mred ak_… https://a/b?…"), len(note) <= 500) == (True, True)


def test_results_are_moved_where_an_earlier_run_stored_them(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    assert work(name, "--out", "drive").exit_code == 0
    review("--reject", "r0")
    assert Path("drive/rejected/spring/r0.mp4").exists()
    Path("drive").rename("moved")
    review("--accept", "r0", "--out", "moved")
    assert Path("moved/spring/r0.mp4").exists()
    assert not Path("results").exists()


def test_a_changed_file_is_left_where_it_is(done: str) -> None:
    FILE.write_text("edited")
    refused = call("review", "--reject", "r0")
    assert (refused.exit_code, "is not the stored result: move it away" in refused.stderr) == (2, True)
    assert FILE.read_text() == "edited"
    review("--accept", "r0")
    FILE.unlink()
    FILE.symlink_to("r1.mp4")
    assert "r0.mp4 is a link and not the file itself" in call("review", "--reject", "r0").stderr


def test_a_missing_file_is_rejected_and_named(done: str) -> None:
    FILE.unlink()
    assert review("--reject", "r0").endswith("1 result rejected; 1 result whose file is missing: spring/r0")
    assert "missing" not in call("status").stdout
    assert review("--reset", "r0").endswith("`batchswap retry spring/r0` and a run download it again")
    assert "1 result file is missing: spring/r0" in call("status").stdout


def test_only_done_tasks_have_a_result(shop: Place) -> None:
    name = shop.manifest("spring.csv", 3)
    shop.video("spring0.mp4", "broken")
    assert work(name, "--limit", "1").exit_code == 3
    for key, words in (
        ("r0", "spring/r0 is failed: there is no result; `batchswap retry spring/r0` queues it again"),
        ("r1", "spring/r1 is queued: there is no result yet; the next run submits it"),
        ("nosuch", 'there is no task "nosuch"'),
    ):
        for verb in ("--accept", "--reject", "--reset", "--redo"):
            refused = call("review", verb, key)
            assert (refused.exit_code, words in refused.stderr) == (2, True), refused.stderr


def test_a_review_needs_one_verdict_and_a_task(place: Place) -> None:
    for arguments, words in (
        (["r0"], "give one of --accept, --reject, --reset and --redo"),
        (["r0", "--accept", "--redo"], "--redo: --accept and --redo were given"),
        (["--accept"], "Missing argument 'KEY...'"),
    ):
        refused = call("review", *arguments)
        assert (refused.exit_code, words in refused.stderr) == (2, True), refused.stderr


def test_a_redo_says_its_price_and_changes_nothing_without_yes(done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSWAP_YES", "1")
    refused = call("review", "--redo", "r0", "r1")
    words = "another attempt for each of 2 tasks will probably cost 2 credits; add --yes to queue it"
    assert (refused.exit_code, words in refused.stderr) == (2, True), refused.stderr
    assert (FILE.exists(), tasks()["r0"]["state"]) == (True, "done")


@pytest.mark.parametrize(("answer", "state"), [(b"y\n", "queued"), (b"n\n", "done")])
def test_a_redo_asks_on_a_terminal(done: str, answer: bytes, state: str) -> None:
    near, far = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "batchswap", "review", "--redo", "r0"], stdin=far, stderr=subprocess.PIPE, text=True
    ) as asked:
        os.write(near, answer)
        _, said = asked.communicate(timeout=30)
    os.close(near)
    os.close(far)
    assert said.startswith("another attempt will probably cost 1 credit. Queue it? [y/N]: ")
    assert (asked.returncode, tasks()["r0"]["state"]) == (0, state)


def test_a_redo_is_paid_once_and_keeps_both_files(done: str) -> None:
    old = FILE.read_bytes()
    said = review("--redo", "r0", "--yes", "--note", "blurred")
    assert said.startswith("1 task queued: another attempt will probably cost 1 credit; moved to /")
    assert said.endswith("; the next run takes it")
    queued = tasks()["r0"]
    assert (queued["state"], queued["file"], queued["reason"]) == ("queued", None, "blurred")
    assert review("--redo", "r0", "--yes").startswith("0 tasks queued, because all of them were queued before")
    assert submits(done) == 1
    assert submits(done) == 0
    again = tasks()["r0"]
    assert (again["state"], again["tries"], again["credits"], again["review"]) == ("done", 2, 2, "")
    assert (FILE.exists(), AWAY.read_bytes()) == (True, old)
    review("--reject", "r0")
    assert AWAY.with_name("r0-2.mp4").exists()


def test_a_redo_keeps_to_the_budget(done: str) -> None:
    review("--redo", "r0", "-y")
    assert work(done, "--budget", "0.5").exit_code == 6
    assert tasks()["r0"]["state"] == "queued"
    assert submits(done, "--budget", "1") == 1


@pytest.mark.parametrize("decision", ["refuse", "reuse", "pay"])
def test_a_redone_row_is_neither_refused_nor_given_the_result_of_another(shop: Place, decision: str) -> None:
    assert submits(shop.manifest("spring.csv", 1)) == 1
    Path("copy.csv").write_bytes(Path("spring.csv").read_bytes())
    assert submits("copy.csv", "--duplicates", "reuse") == 0
    review("--redo", "copy/r0", "--yes")
    plan = json.loads(call("plan", "copy.csv", "--json", "--duplicates", decision).stdout)
    assert (plan["submits"], plan["duplicates"]) == (1, [])
    assert submits("copy.csv", "--duplicates", decision) == 1
    assert submits("spring.csv") == 0


def test_a_rejected_result_is_not_reused(shop: Place) -> None:
    assert submits(shop.manifest("spring.csv", 1)) == 1
    review("--reject", "spring/r0")
    Path("copy.csv").write_bytes(Path("spring.csv").read_bytes())
    assert work("copy.csv").exit_code == 2
    said = work("copy.csv", "--duplicates", "reuse", "--json")
    assert (said.exit_code, json.loads(said.stdout)["requests"]["submit"]) == (3, 0)
    shown = json.loads(call("show", "copy/r0", "--json").stdout)
    assert (shown["code"], "`batchswap review --accept spring/r0`" in shown["reason"]) == ("reuse-rejected", True)
    review("--accept", "spring/r0")
    assert call("retry", "copy/r0").exit_code == 0
    assert submits("copy.csv") == 0
    assert Path("results/copy/r0.mp4").samefile("results/spring/r0.mp4")


@pytest.mark.parametrize("redo", [False, True])
def test_a_rebuilt_ledger_knows_what_was_rejected(done: str, redo: bool) -> None:
    review(*(("--redo", "--yes") if redo else ("--reject",)), "r0")
    for each in Path().glob("batchswap.db*"):
        each.unlink()
    assert call("rebuild", done).exit_code == 0
    assert {key: task["review"] for key, task in tasks().items()} == {"r0": "rejected", "r1": "", "r2": ""}
    assert tasks()["r0"]["file"] == "rejected/spring/r0.mp4"
    assert submits(done) == 0
    assert not FILE.exists()


def test_a_rebuilt_ledger_has_the_new_result_and_not_the_rejected_one(done: str) -> None:
    review("--redo", "--yes", "r0")
    assert submits(done) == 1
    new = FILE.read_bytes()
    for each in Path().glob("batchswap.db*"):
        each.unlink()
    assert call("rebuild", done).exit_code == 0
    found = tasks()["r0"]
    assert (found["review"], found["file"], found["tries"]) == ("", "spring/r0.mp4", 2)
    assert (submits(done), FILE.read_bytes()) == (0, new)


def test_an_older_copy_of_the_ledger_gets_the_paid_result_of_a_redo(done: str) -> None:
    assert call("backup", "old.db").exit_code == 0
    review("--redo", "--yes", "r0")
    assert submits(done) == 1
    new = FILE.read_bytes()
    for each in Path().glob("batchswap.db*"):
        each.unlink()
    Path("old.db").rename("batchswap.db")
    assert work(done).exit_code == 2
    assert call("rebuild").exit_code == 0
    assert (submits(done), FILE.read_bytes()) == (0, new)
    assert (tasks()["r0"]["state"], tasks()["r0"]["tries"]) == ("done", 2)


VICTIM = """
import os, signal, sys
from batchswap.cli.main import root
from batchswap.operations import review
moment, real = sys.argv.pop(1), review.move
def move(*places):
    if moment == "before": os.kill(os.getpid(), signal.SIGKILL)
    real(*places)
    if moment == "after": os.kill(os.getpid(), signal.SIGKILL)
review.move = move
if moment == "queued":
    def redo(*_): os.kill(os.getpid(), signal.SIGKILL)
    review.operator_actions.redo = redo
root.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("verb", "moment"),
    [("--reject", "before"), ("--reject", "after"), ("--accept", "after"), ("--redo", "after"), ("other", "after")],
)
def test_a_killed_review_is_finished_by_the_same_command(done: str, verb: str, moment: str) -> None:
    """`other`: the user changes their mind after the kill. The file is never lost, and never in both places."""
    content = FILE.read_bytes()
    if verb == "--accept":
        review("--reject", "r0")
    command = ["--reject" if verb == "other" else verb, "r0", *(["--yes"] if verb == "--redo" else [])]
    killed = subprocess.run([sys.executable, "-c", VICTIM, moment, "review", *command], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.read_bytes() for path in (FILE, AWAY) if path.exists()] == [content]
    review(*(["--accept", "r0"] if verb == "other" else command))
    is_back = verb in ("--accept", "other")
    assert [path.read_bytes() for path in (FILE, AWAY) if path.exists()] == [content]
    assert FILE.exists() is is_back
    assert tasks()["r0"]["state"] == ("queued" if verb == "--redo" else "done")
    assert submits(done) == (verb == "--redo")


def test_a_redo_that_is_killed_before_it_is_queued_is_a_rejected_result(done: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", VICTIM, "queued", "review", "--redo", "--yes", "r0", "r1"], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert {key: task["review"] for key, task in tasks().items()} == {"r0": "rejected", "r1": "rejected", "r2": ""}
    review("--redo", "--yes", "r0", "r1")
    assert submits(done) == 2


def test_a_review_is_possible_during_a_run_and_a_redo_is_not(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    assert work(name).exit_code == 0
    later = shop.manifest("later.csv", 4, "slow")
    command = [sys.executable, "-m", "batchswap", "run", later, "--in-flight", "1", "--rate", "none", "--no-progress"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert "4 rows" in run.stderr.readline()
        review("--reject", "spring/r0")
        busy = call("review", "--redo", "--yes", "spring/r0")
        assert run.wait(timeout=60) == 0
    assert (busy.exit_code, "a run is using batchswap.db" in busy.stderr) == (75, True)
    assert {task["state"] for task in tasks().values()} == {"done"}
    assert [task["review"] for task in tasks("--batch", "spring").values()] == ["rejected"]
