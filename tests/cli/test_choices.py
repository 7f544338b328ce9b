"""Options of several commands with one name: a variable or a file affects only the intended command."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Place, call, work

Say = Callable[[str, str], None]


@pytest.fixture(params=["environment", "file"])
def say(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, place: Place) -> Say:
    """Return a function that sets an option in the environment or in a file."""

    def environment(name: str, value: str) -> None:
        monkeypatch.setenv(f"BATCHSWAP_{name.upper()}", value)

    def file(name: str, value: str) -> None:
        Path("batchswap.yaml").write_text(f"{name}: {value}\n")

    return environment if request.param == "environment" else file


@pytest.fixture
def two(shop: Place) -> Place:
    """Return two batches with two waiting tasks each."""
    for name in ("spring.csv", "autumn.csv"):
        assert work(shop.manifest(name, 2), "--limit", "0").exit_code == 0
    return shop


def states() -> dict[str, str]:
    """Return the states by `batch/key`."""
    with sqlite3.connect("batchswap.db") as db:
        rows = db.execute("select b.name || '/' || t.key, t.state from tasks t join batches b on b.id = t.batch_id")
        found = dict(rows.fetchall())
    db.close()
    return found


def put(state: str, code: str = "") -> None:
    """Put all tasks into a state that would be slow to reach."""
    with sqlite3.connect("batchswap.db") as db:
        db.execute("update tasks set state = ?, code = ?", (state, code))
        sql = "insert into events(at, task_id, event, state, detail) select 0.0, id, ?, state, '' from tasks"
        db.execute(sql, (code or state,))
    db.close()


def chosen(state: str) -> set[str]:
    return {name for name, found in states().items() if found == state}


def test_a_batch_from_elsewhere_cancels_nothing(two: Place, say: Say) -> None:
    say("batch", "spring")
    refused = call("cancel")
    assert (refused.exit_code, chosen("cancelled")) == (2, set())
    assert "does not count here" in refused.stderr
    assert "BATCHSWAP_BATCH" in refused.stderr or "batchswap.yaml" in refused.stderr


def test_cancel_follows_only_the_command_line(two: Place, say: Say) -> None:
    say("batch", "spring")
    assert call("cancel", "autumn/r0").exit_code == 0
    assert chosen("cancelled") == {"autumn/r0"}
    assert call("cancel", "--batch", "autumn").exit_code == 0
    assert chosen("cancelled") == {"autumn/r0", "autumn/r1"}


@pytest.mark.parametrize(("name", "value"), [("batch", "spring"), ("code", "422"), ("state", "cancelled")])
def test_a_named_task_is_retried_despite_other_choices(two: Place, say: Say, name: str, value: str) -> None:
    put("failed", "501")
    say(name, value)
    done = call("retry", "autumn/r0")
    assert done.exit_code == 0, done.stderr
    assert chosen("queued") == {"autumn/r0"}


@pytest.mark.parametrize(("name", "value"), [("batch", "spring"), ("code", "501")])
def test_a_choice_from_elsewhere_makes_a_retry_smaller(two: Place, say: Say, name: str, value: str) -> None:
    put("failed", "501")
    with sqlite3.connect("batchswap.db") as db:
        db.execute("update tasks set code = '422' where batch_id = (select id from batches where name = 'autumn')")
    db.close()
    say(name, value)
    assert call("retry").exit_code == 0
    assert chosen("queued") == {"spring/r0", "spring/r1"}


def test_only_the_command_line_can_retry_cancelled_tasks(two: Place, say: Say) -> None:
    put("cancelled")
    say("state", "cancelled")
    refused = call("retry")
    assert (refused.exit_code, chosen("queued")) == (2, set())
    assert "for other tasks than failed ones, type the option" in refused.stderr
    assert call("retry", "--state", "cancelled").exit_code == 0
    assert len(chosen("queued")) == 4


def test_only_the_command_line_can_retry_given_up_tasks(two: Place, say: Say) -> None:
    put("failed", "given-up")
    say("code", "given-up")
    assert "skipped 4 tasks that you had given up on" in call("retry").stderr
    assert chosen("queued") == set()
    assert call("retry", "--code", "given-up").exit_code == 0
    assert len(chosen("queued")) == 4


@pytest.mark.parametrize("value", ["done", "running", "uncertain"])
def test_a_state_for_tasks_does_not_stop_a_retry(two: Place, say: Say, value: str) -> None:
    put("failed")
    say("state", value)
    assert call("retry").exit_code == 0
    assert len(chosen("queued")) == 4
    assert call("tasks").stdout.count("queued") == 0


def test_several_states_in_a_file_stop_no_other_command(two: Place) -> None:
    put("failed")
    Path("batchswap.yaml").write_text("state: [failed, uncertain]\n")
    assert len(call("tasks", "--format", "jsonl").stdout.splitlines()) == 4
    assert call("retry").exit_code == 0
    assert len(chosen("queued")) == 4


def test_a_manifests_format_does_not_stop_commands_that_print(two: Place, say: Say) -> None:
    say("format", "yaml")
    listed = call("tasks")
    assert listed.exit_code == 0
    assert listed.stdout.startswith("key ")


def test_a_format_of_tasks_does_not_stop_a_check(two: Place, say: Say) -> None:
    say("format", "json")
    assert call("check", "spring.csv").stdout == "spring: 2 rows, no mistakes found\n"
    assert len(json.loads(call("tasks").stdout)) == 4


def test_a_value_for_no_command_is_still_an_error(two: Place, say: Say) -> None:
    say("format", "xml")
    for words in (["tasks"], ["check", "spring.csv"]):
        refused = call(*words)
        assert refused.exit_code == 2
        assert "(from " in refused.stderr


@pytest.mark.parametrize("words", [("tasks",), ("retry",), ("cancel",)])
def test_an_unknown_batch_is_named(two: Place, words: tuple[str, ...]) -> None:
    before = states()
    refused = call(*words, "--batch", "sprig")
    assert (refused.exit_code, refused.stdout, states()) == (2, "", before)
    assert 'there is no batch "sprig" in batchswap.db; did you mean "spring"?' in refused.stderr
