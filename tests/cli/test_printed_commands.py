"""A printed command works when it is typed, with any names of keys and files."""

import re
import shlex
import sqlite3
from pathlib import Path

import pytest

from batchswap.preflight.environment import look_at_ledger
from batchswap.report.next_commands import command
from tests.cli.conftest import Place, call
from tests.http.local import Running

LEDGER = "my $(touch owned).db"
KEYS = ["$(touch owned)", "it's", "-q", "a b"]


@pytest.fixture
def odd(forgetful: Running, place: Place) -> Place:
    """Return a ledger of uncertain tasks with unusual names."""
    rows = "".join(f"{key},{place.video('v.mp4')},face.png\n" for key in KEYS)
    Path("my batch.csv").write_text(f"id,video,face\n{rows}")
    assert call("run", "my batch.csv", "--db", LEDGER, "--rate", "none").exit_code == 4
    return place


def words(line: str) -> list[str]:
    """Split the command in a line as a shell does."""
    found = re.search(r"batchswap .*", line)
    assert found is not None
    return shlex.split(found[0], comments=True)[1:]


def test_status_prints_commands_that_show_each_task(odd: Place) -> None:
    lines = [
        line for line in call("status", "--db", LEDGER).stdout.splitlines() if line.startswith("  batchswap show ")
    ]
    assert len(lines) == len(KEYS)
    for key, line in zip(KEYS, lines, strict=True):
        shown = call(*words(line))
        assert shown.stdout.startswith(f"my batch/{key}: uncertain"), line


def test_show_prints_commands_that_resolve_the_task(odd: Place) -> None:
    for key in KEYS:
        said = call("show", "--db", LEDGER, f"my batch/{key}").stdout
        line = next(line for line in said.splitlines() if line.startswith("  if not, to submit again: "))
        assert call(*words(line)).exit_code == 0, line
        assert call("show", "--db", LEDGER, f"my batch/{key}").stdout.startswith(f"my batch/{key}: queued")


def test_resolve_prints_the_command_that_undoes_it(odd: Place) -> None:
    for key in KEYS:
        said = call("resolve", "--give-up", "--db", LEDGER, f"my batch/{key}").stderr
        line = said.strip().splitlines()[-1].partition("`")[2].partition("` would pay again")[0]
        assert "1 task queued again" in call(*words(line)).stderr, said


def test_a_name_is_never_an_option() -> None:
    said = command("resolve", Path("-l.db"), "-batch/key", options="--give-up")
    assert shlex.split(said) == ["batchswap", "resolve", "--give-up", "--db", "-l.db", "--", "-batch/key"]


def test_the_name_of_a_damaged_ledger_is_quoted_for_a_shell(odd: Place) -> None:
    with sqlite3.connect(LEDGER) as db:
        db.execute("pragma journal_mode = delete")
    db.close()
    sound = Path(LEDGER).read_bytes()
    Path(LEDGER).write_bytes(sound[:36] + b"\0\0\0\7" + sound[40:])  # free pages that there are not
    remedy = look_at_ledger(Path(LEDGER)).remedy
    assert f"sqlite3 {shlex.quote(LEDGER)} .recover" in remedy


def test_cancel_prints_the_command_that_undoes_it(shop: Place) -> None:
    for name in ("-my batch.csv", "other.csv"):
        rows = "".join(f"{key},{shop.video('v.mp4')},face.png\n" for key in KEYS)
        Path(name).write_text(f"id,video,face\n{rows}")
        assert call("run", "--db", LEDGER, "--limit", "0", "--", name).exit_code == 0
    assert call("cancel", "--db", LEDGER, "other/it's").exit_code == 0
    for words_of_cancel, count in (((f"-my batch/{KEYS[0]}", f"-my batch/{KEYS[2]}"), 2), ((), 4)):
        how = ("--", *words_of_cancel) if words_of_cancel else ("--batch", "-my batch")
        said = call("cancel", "--db", LEDGER, *how).stderr
        back = call(*words(said.partition("`")[2].partition("`")[0]))
        assert f"{count} tasks queued again" in back.stderr, said
    assert call("show", "--db", LEDGER, "other/it's").stdout.startswith("other/it's: cancelled")


def test_without_a_cancelled_task_no_command_is_printed(shop: Place) -> None:
    assert call("run", shop.manifest("spring.csv", 1), "--limit", "0").exit_code == 0
    assert call("cancel", "--batch", "spring").stderr.startswith("1 task cancelled; ")
    assert call("cancel", "--batch", "spring").stderr == "0 tasks cancelled\n"
