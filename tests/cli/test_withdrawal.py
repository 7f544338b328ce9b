"""`consent withdraw`: all results under a release are found, no run adds to them, and files go by the user's word."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchswap.ledger import releases
from batchswap.ledger.file.lock import hold
from tests.cli.conftest import Place, call, work
from tests.cli.test_consent import manifest
from tests.cli.test_duplicates import submits
from tests.cli.test_review import event_names, tasks
from tests.cli.test_words import change

FILE = Path("results/spring/r0.mp4")


def withdraw(*arguments: str, code: int = 0) -> dict[str, Any]:
    """Return the document of a withdrawal."""
    said = call("consent", "withdraw", *arguments, "--json")
    assert said.exit_code == code, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def files(found: dict[str, Any]) -> list[str]:
    return [str(Path(path).relative_to(Path.cwd())) for each in found["results"] for path in each["files"]]


def keep(*keys: str) -> None:
    """Leave only these rows in the manifest."""
    head, *rows = Path("spring.csv").read_text().splitlines()
    Path("spring.csv").write_text("\n".join([head, *(row for row in rows if row.split(",")[0] in keys), ""]))


@pytest.fixture
def done(shop: Place) -> str:
    """Return a manifest with three results, two of them under the release `a`."""
    name = manifest(shop, "a", "a", "b")
    assert work(name).exit_code == 0
    return name


def test_every_result_is_listed_and_marked_and_nothing_is_deleted(done: str) -> None:
    said = call("consent", "withdraw", "a")
    here = Path.cwd() / "results/spring"
    assert said.stdout.splitlines() == [f"spring/r0: {here}/r0.mp4", f"spring/r1: {here}/r1.mp4"]
    assert said.stderr == (
        "a is withdrawn: 2 results, 2 files; to delete the files: `batchswap consent withdraw a --delete`\n"
    )
    assert {key: each["withdrawn"] for key, each in tasks().items()} == {"r0": True, "r1": True, "r2": False}
    assert list(tasks("--consent", "a")) == ["r0", "r1"]
    assert "consent: a, which was withdrawn" in call("show", "r0").stdout
    first = withdraw("a")
    assert withdraw("a") == first, "it is safe to repeat"
    assert (files(first), FILE.exists()) == (["results/spring/r0.mp4", "results/spring/r1.mp4"], True)


def test_no_run_submits_or_plans_a_row_under_it(shop: Place) -> None:
    name = manifest(shop, "a", "a", "b")
    assert submits(name, "--limit", "1") == 1
    assert withdraw("a")["cancelled"] == 1
    for command in (("run", name), ("plan", name), ("check", name, "--db", "batchswap.db")):
        refused = call(*command)
        assert refused.exit_code == 2
        assert [line.partition(":")[2][:26] for line in refused.stderr.splitlines()] == [
            ' spring.csv:2: consent: "a',
            ' spring.csv:3: consent: "a',
        ]
    assert call("check", name).exit_code == 0, "without --db, no ledger is read"
    assert (tasks()["r1"]["state"], tasks()["r1"]["reason"]) == ("cancelled", "its release was withdrawn")
    assert "spring/r1 is under a, a release that was withdrawn" in call("retry", "r1").stderr
    assert "skipped 1 task whose release was withdrawn" in call("retry", "--state", "cancelled").stderr
    assert "spring/r0 is under a, a release that was withdrawn" in call("review", "--redo", "r0", "--yes").stderr
    keep("r2")
    assert submits(name) == 1
    manifest(shop, "a", "a", "b")
    again = call("consent", "restore", "a")
    assert "`batchswap retry --state cancelled --code release-withdrawn`" in again.stderr
    assert "a was not withdrawn" in call("consent", "restore", "a").stderr
    assert "1 task queued again" in call("retry", "--state", "cancelled", "--code", "release-withdrawn").stderr
    assert submits(name) == 1


def test_deleted_files_are_neither_missing_nor_downloaded_again(done: str) -> None:
    content = Path("results/spring/r2.mp4").read_bytes()
    Path("results/spring/.r0.mp4.sign.new").write_bytes(b"killed while it was signed")
    found = withdraw("a", "--delete", "--yes")
    assert (found["deleted"], list(Path("results/spring").iterdir())) == (2, [Path("results/spring/r2.mp4")])
    assert Path("results/spring/r2.mp4").read_bytes() == content
    assert event_names("r0")[-1] == "result-deleted"
    assert "missing" not in call("status").stdout
    assert "0 tasks queued again" in call("retry", "--state", "done").stderr
    assert call("retry", "r0").exit_code == 2
    again = withdraw("a", "--delete", "--yes")
    assert (again["deleted"], files(again), event_names("r0").count("result-deleted")) == (0, [], 1)
    assert "spring/r0: no file" in call("consent", "withdraw", "a").stdout
    call("consent", "restore", "a")
    assert "2 result files are missing" in call("status").stdout
    withdraw("a")
    keep("r2")
    assert submits(done) == 0


def test_files_are_found_in_every_place(shop: Place) -> None:
    """Rejected and redone results, results of an earlier --out, of an edited row, and a copy in the present --out."""
    name = manifest(shop, "a", "a", "a", "a")
    assert work(name, "--out", "drive").exit_code == 0
    call("review", "--reject", "r0")
    call("review", "--redo", "r1", "--yes")
    shop.video("v2.mp4", "edited")
    Path(name).write_text(Path(name).read_text().replace("r3,v3.mp4", "r3,v2.mp4").replace("r2,v2.mp4", "r2,v3.mp4"))
    Path("results/spring").mkdir(parents=True)
    Path("results/spring/r2.mp4").write_bytes(Path("drive/spring/r2.mp4").read_bytes())
    Path("results/spring/r3.mp4").write_text("a file of the user")
    assert work(name, "--limit", "0").exit_code in {0, 3}
    assert sorted(files(withdraw("a"))) == [
        "drive/rejected/spring/r0.mp4",
        "drive/rejected/spring/r1.mp4",
        "drive/spring/r2.mp4",
        "drive/spring/r3.mp4",
        "results/spring/r2.mp4",
    ]
    assert withdraw("a", "--delete", "--yes")["deleted"] == 5
    left = [str(path) for path in (*Path("drive").rglob("*.mp4"), *Path("results").rglob("*.mp4"))]
    assert left == ["results/spring/r3.mp4"]


def test_a_file_that_is_not_the_result_is_left_and_named(done: str) -> None:
    FILE.write_text("edited by the user")
    Path("results/spring/r1.mp4").rename("kept.mp4")
    Path("results/spring/r1.mp4").symlink_to(Path("kept.mp4").absolute())
    said = call("consent", "withdraw", "a", "--delete", "--yes")
    assert (said.exit_code, FILE.read_text(), Path("kept.mp4").exists()) == (3, "edited by the user", True)
    assert "r0.mp4 has changed since it was stored: it is not deleted" in said.stdout
    assert "r1.mp4 is a link: it is not deleted" in said.stdout
    assert "2 files not deleted, for the reasons above" in said.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs chattr")
def test_a_file_that_cannot_be_deleted_is_named(done: str) -> None:
    if subprocess.run(["chattr", "+i", str(FILE)], check=False, capture_output=True).returncode:
        pytest.skip("the file system has no such attribute")
    try:
        found = withdraw("a", "--delete", "--yes", code=3)
    finally:
        subprocess.run(["chattr", "-i", str(FILE)], check=True)
    assert found["deleted"] == 1
    assert "cannot be deleted: Operation not permitted" in str(found["results"][0]["left"])


def test_the_pictures_go_with_the_results_and_those_of_others_stay(done: str) -> None:
    """A picture is named by the file that was examined, which may have been signed since, and by the task."""
    with closing(sqlite3.connect("batchswap.db")) as db:
        ids = dict(db.execute("select key, id from tasks"))
    strips = [
        Path(f"batchswap.db-pictures/{at}/{at}cdef-{ids[key]}.webp") for key in ("r0", "r2") for at in ("aa", "bb")
    ]
    for strip in strips:
        strip.parent.mkdir(parents=True, exist_ok=True)
        strip.write_bytes(b"RIFF")
    Path("batchswap.db-pictures/aa/notes-of-mine.webp").touch()
    columns = "id, 1, sha256, 'swapped', 1, 1, x'7b7d'"
    for key, picture, rest in (
        ("r0", f"aa/aacdef-{ids['r0']}.webp", "'', '', 1, 1.0, 'cd'"),
        ("r2", f"bb/bbcdef-{ids['r1']}.webp", "'', '', 0, 1.0, ''"),
    ):
        change(f"insert into deliveries select {columns}, '{picture}', {rest} from tasks where key = '{key}'")
    shared = Path(f"batchswap.db-pictures/bb/bbcdef-{ids['r1']}.webp")
    shared.write_bytes(b"of r2, too")
    withdraw("a", "--delete", "--yes")
    assert [strip.exists() for strip in (*strips, shared)] == [False, False, True, True, True]
    assert Path("batchswap.db-pictures/aa/notes-of-mine.webp").exists()
    with closing(sqlite3.connect("batchswap.db")) as db:
        assert db.execute("select strip from deliveries order by task_id").fetchall()[0] == ("",)


def test_a_result_that_another_release_has_too_is_left(done: str) -> None:
    """Both tasks have the same file: the second one took the result of the first."""
    Path("spring.csv").rename("final.csv")
    Path("final.csv").write_text(Path("final.csv").read_text().replace("face.png,a", "face.png,c"))
    reuse = ("final.csv", "--duplicates", "reuse", "--name-template", "spring/{key}{ext}")
    assert submits(*reuse) == 0
    found = withdraw("a", "--delete", "--yes", code=3)
    assert (found["deleted"], FILE.exists()) == (0, True)
    assert found["results"][0]["left"][0]["reason"] == "is also the result of final/r0"
    assert withdraw("c", "--delete", "--yes", code=3)["deleted"] == 0


def test_a_task_in_progress_is_collected_and_listed_by_the_next_withdrawal(done: str) -> None:
    FILE.unlink()
    assert "1 to collect again" in call("retry", "r0").stderr
    assert tasks()["r0"]["state"] == "running"
    said = call("consent", "withdraw", "a")
    assert "1 task is paid or uncertain: take the rows out of the manifest, run it to collect" in said.stderr
    assert work(done).exit_code == 2
    keep("r2")
    assert submits(done) == 0
    assert (tasks()["r0"]["state"], tasks()["r0"]["withdrawn"], FILE.exists()) == ("done", True, True)
    assert withdraw("a", "--delete", "--yes")["deleted"] == 2
    assert not FILE.exists()


def test_deleting_needs_a_yes_on_the_command_line(done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = call("consent", "withdraw", "a", "--delete")
    assert (refused.exit_code, FILE.exists()) == (2, True)
    assert "a is withdrawn; 2 files of 2 results will be deleted for good: add --yes to delete them" in refused.stderr
    monkeypatch.setenv("BATCHSWAP_DELETE", "1")
    monkeypatch.setenv("BATCHSWAP_YES", "1")
    assert call("consent", "withdraw", "a").exit_code == 0
    assert call("consent", "withdraw", "a", "--delete").exit_code == 2
    assert FILE.exists()


@pytest.mark.parametrize(("answer", "is_left"), [(b"n\n", True), (b"y\n", False)])
def test_the_question_is_asked_on_a_terminal(done: str, answer: bytes, is_left: bool) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    code = [sys.executable, "-m", "batchswap", "consent", "withdraw", "a", "--delete"]
    said = subprocess.run(code, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert "2 files of 2 results will be deleted for good. Delete them?" in said.stderr
    assert (said.returncode, FILE.exists()) == (0, is_left)


def test_it_is_refused_during_a_run_and_for_unknown_releases(done: str) -> None:
    with hold(Path("batchswap.db"), wait=False):
        for action in ("withdraw", "restore"):
            assert call("consent", action, "a").exit_code == 75
    for action in ("withdraw", "restore"):
        refused = call("consent", action, "aa")
        assert refused.exit_code == 2
        assert 'nothing in batchswap.db is under a release "aa"; did you mean "a"?' in refused.stderr
    assert call("consent", "revoke", "a").exit_code == 2
    assert not [each for each in tasks().values() if each["withdrawn"]]


def test_a_part_of_a_download_goes_too(done: str) -> None:
    change("update tasks set state = 'failed', file = null, size = null, sha256 = null where key = 'r0'")
    part = FILE.with_name(".r0.mp4.part")
    FILE.rename(part)
    part.with_name(".r0.mp4.part.json").touch()
    found = withdraw("a", "--delete", "--yes")
    assert (found["deleted"], found["parts"]) == (2, [str(part.absolute())])
    assert sorted(path.name for path in FILE.parent.iterdir()) == ["r2.mp4"]
    assert event_names("r0")[-1] == "result-deleted"


def test_a_crash_after_a_deletion_leaves_no_task_without_its_event(done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(releases, "note_deleted", lambda *_: 1 / 0)
        assert call("consent", "withdraw", "a", "--delete", "--yes").exit_code == 1
    assert (FILE.exists(), Path("results/spring/r1.mp4").exists()) == (False, True)
    assert withdraw("a", "--delete", "--yes")["deleted"] == 1
    shown = [json.loads(call("show", key, "--json").stdout)["events"][-1] for key in ("r0", "r1")]
    assert [each["event"] for each in shown] == ["result-deleted"] * 2
    assert shown[0]["detail"] == "there was no file"


def test_another_row_does_not_reuse_a_withdrawn_result(done: str) -> None:
    withdraw("a")
    text = Path(done).read_text()
    Path("final.csv").write_text(text.replace(",a\n", ",c\n"))
    assert work("final.csv", "--duplicates", "reuse").exit_code == 3
    found = {each["key"]: each for each in json.loads(call("tasks", "--batch", "final", "--format", "json").stdout)}
    assert {key: (each["state"], each["code"]) for key, each in found.items()} == {
        "r0": ("failed", "reuse-withdrawn"), "r1": ("failed", "reuse-withdrawn"), "r2": ("done", ""),
    }  # fmt: skip


def test_a_ledger_is_repaired_although_it_has_withdrawn_releases(done: str) -> None:
    withdraw("a")
    assert call("rebuild", done).exit_code == 0
    assert work(done).exit_code == 2
