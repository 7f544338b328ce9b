"""`verify` compares files with the ledger by size and SHA-256, and changes nothing."""

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

from batchswap import delivery
from batchswap.cli.file_progress import FileLines
from batchswap.ledger import signatures
from batchswap.ledger.signatures import SignedResult
from batchswap.ledger.transitions import Stamp
from tests.cli.conftest import Place, call, work
from tests.cli.test_review import FILE, review
from tests.cli.test_stored import spoil


@pytest.fixture
def done(shop: Place) -> str:
    """Return a manifest with three results."""
    name = shop.manifest("spring.csv", 3)
    assert work(name).exit_code == 0
    return name


def verify(*arguments: str, code: int = 0) -> dict[str, Any]:
    said = call("verify", "--json", *arguments)
    assert said.exit_code == code, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    assert found["exit_code"] == code
    return found


def test_sound_results_are_counted(done: str) -> None:
    said = call("verify")
    assert (said.exit_code, said.stdout) == (0, "")
    assert "3 files compared with the ledger (" in said.stderr
    assert said.stderr.endswith(": no problem found\n")
    review("--reject", "r0")
    os.utime("results/spring/r1.mp4")
    found = verify()
    assert (found["checked"], found["problems"], found["bytes"] > 0) == (3, [], True)


@pytest.mark.parametrize(
    ("how", "problem", "words"),
    [
        ("cut", "changed", "spring/r1: results/spring/r1.mp4 has "),
        ("edited", "changed", "has another content than the stored result"),
        ("folder", "changed", "is not a file any more"),
        ("dangling", "missing", "spring/r1: results/spring/r1.mp4 is missing"),
    ],
)
def test_a_wrong_file_is_one_line(done: str, how: str, problem: str, words: str) -> None:
    """Also one whose size and time are those of the result."""
    before = FILE.with_name("r1.mp4").stat().st_mtime
    spoil(how)
    if how == "edited":
        os.utime("results/spring/r1.mp4", (before, before))
    said = call("verify")
    [line] = said.stdout.splitlines()
    assert (said.exit_code, words in line, "1 problem found" in said.stderr) == (3, True, True)
    assert verify(code=3)["problems"][0]["problem"] == problem


def test_rejected_files_are_compared_too_and_may_be_deleted(done: str) -> None:
    review("--reject", "r0", "r2")
    Path("results/rejected/spring/r0.mp4").write_text("edited")
    Path("results/rejected/spring/r2.mp4").unlink()
    found = verify(code=3)
    assert [each["task"] for each in found["problems"]] == ["spring/r0"]
    assert found["deleted"] == 1


def test_files_and_folders_are_looked_up(done: str, shop: Place) -> None:
    Path("copies").mkdir()
    Path("copies/intro.mp4").write_bytes(FILE.read_bytes())
    Path("copies/other.mp4").write_text("no result")
    Path("copies/.hidden.part").write_text("left out")
    found = verify("copies", code=3)
    assert (found["checked"], found["copies"]) == (2, 1)
    assert [(each["task"], each["path"], each["problem"]) for each in found["problems"]] == [
        ("", str(Path("copies/other.mp4").resolve()), "unknown")
    ]
    assert "copies/other.mp4 is not a result that this ledger knows" in call("verify", "copies").stdout
    assert verify(str(FILE))["checked"] == 1
    FILE.unlink()
    assert verify("results/spring", code=3)["problems"][0]["problem"] == "missing"
    assert verify("results/spring/r1.mp4", "results/spring/r2.mp4")["checked"] == 2
    Path("link").symlink_to("results")
    assert verify("link/spring/r1.mp4")["checked"] == 1


def test_results_of_another_folder_are_found_where_they_were_stored(shop: Place) -> None:
    assert work(shop.manifest("spring.csv", 2), "--out", "drive").exit_code == 0
    assert verify()["checked"] == 2
    Path("drive").rename("moved")
    assert len(verify(code=3)["problems"]) == 2
    assert verify("--out", "moved")["problems"] == []


def test_a_path_that_does_not_exist_and_a_missing_ledger_are_sentences(done: str) -> None:
    refused = call("verify", "nosuch")
    assert (refused.exit_code, "nosuch: there is no such file or folder" in refused.stderr) == (2, True)
    assert call("verify", "--db", "nosuch.db").exit_code == 2


def test_progress_is_a_bar_on_a_terminal_and_a_line_elsewhere(done: str, caplog: pytest.LogCaptureFixture) -> None:
    near, far = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "batchswap", "verify"], stderr=far, env={**os.environ, "TERM": "xterm"}
    ):
        os.close(far)
        said = b""
        while b"no problem found" not in said:
            said += os.read(near, 4096)
    os.close(near)
    assert b"verifying files" in said
    caplog.set_level("INFO")
    lines = FileLines("verifying files", every=0.0)
    lines.show(1, 3)
    lines.show(3, 3)
    assert [record.getMessage() for record in caplog.records][-1:] == ["verifying files: 1 of 3"]


def test_foreign_names_are_printed_safely(done: str) -> None:
    Path("x\x1b[31m.mp4").write_text("x")
    said = call("verify", "x\x1b[31m.mp4")
    assert (said.exit_code, "\x1b" in said.stdout) == (3, False)


def test_results_without_a_finding_are_examined_once(done: str) -> None:
    """The files of the quick engine show no face."""
    review("--reject", "r0", "--note", "kept")
    found = verify("--score")
    assert found["examined"] == {"no_face": 3}
    shown = json.loads(call("show", "r0", "--json").stdout)
    assert (shown["review"], shown["note"], bool(shown["evidence"]["reason"])) == ("rejected", "kept", True)
    assert [each["event"] for each in shown["events"]][-1] == "examined"
    assert verify("--score")["examined"] == {}
    with closing(sqlite3.connect("batchswap.db", isolation_level=None)) as db:
        db.execute("update deliveries set sha256 = 'other' where task_id = 2")
        sha256, size = db.execute("select sha256, size from tasks where id = 3").fetchone()
        signatures.record(db, Stamp(1.0, None), 3, SignedResult("received", sha256, size, is_signed=False))
    said = call("verify", "--score")
    assert said.stderr.endswith(": no problem found; 2 results examined: 2 no face\n")
    assert verify("--score")["examined"] == {}, "the finding of a labelled result is about the received file"


def test_a_wrong_file_is_not_examined(done: str) -> None:
    for path in Path("results/spring").iterdir():
        path.write_text("wrong")
    assert verify("--score", code=3)["examined"] == {}


def test_without_the_extra_it_says_how_to_get_it(done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PACKAGES", ("nosuchpackage",))
    refused = call("verify", "--score")
    words = "this needs nosuchpackage, which is not installed: pip install 'batchswap[proof]'"
    assert (refused.exit_code, words in refused.stderr) == (2, True)
    assert call("verify").exit_code == 0
