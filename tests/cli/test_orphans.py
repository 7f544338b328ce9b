"""Tasks whose row was removed from the manifest are counted separately and do not affect the exit code."""

import json
from pathlib import Path

import msgspec
import pytest

from batchswap.operations.run_steps import counts_of, has_work
from batchswap.settings import Settings
from tests.cli.conftest import Place, call, work
from tests.cli.test_words import change, state


def last(said: str) -> str:
    return said.splitlines()[-1]


def without_the_last_row(name: str) -> None:
    lines = Path(name).read_text().splitlines()
    Path(name).write_text("\n".join([*lines[:-1], ""]))


@pytest.fixture
def orphaned(shop: Place) -> str:
    """Return a manifest of two done rows. The third one failed and was then removed."""
    name = shop.manifest("five.csv", 3)
    shop.video("five2.mp4", "broken")
    assert work(name).exit_code == 3
    without_the_last_row(name)
    return name


def test_a_failed_orphan_is_reported_without_exit_code_3(orphaned: str) -> None:
    for _ in range(2):
        done = work(orphaned)
        assert done.exit_code == 0
        assert last(done.stderr).startswith("nothing to do: 2 done, 3 credits")
        assert "1 task is no longer in the manifest: failed 1; to cancel: `batchswap cancel five/r2`\n" in done.stderr
        assert "batchswap retry" not in done.stderr
    as_json = json.loads(work(orphaned, "--json").stdout)
    assert (as_json["exit_code"], as_json["reason"]) == (0, "all done")
    assert (as_json["counts"]["done"], as_json["counts"]["failed"]) == (2, 1), "of the whole batch"


def test_status_counts_orphans_separately(orphaned: str) -> None:
    assert "no longer in the manifest" not in call("status").stdout
    assert work(orphaned).exit_code == 0
    assert (
        "\n1 task is no longer in the manifest: failed 1; to cancel: `batchswap cancel five/r2`\n"
        in call("status").stdout
    )
    assert json.loads(call("status", "--json").stdout)["orphaned"] == {"queued": 0, "failed": 1}
    assert call("retry").exit_code == 0
    assert "in the manifest: queued 1; to cancel: `batchswap cancel five/r2`\n" in call("status").stdout
    assert "unfinished" not in call("status").stdout, "no run takes it"
    assert json.loads(call("status", "--json").stdout)["orphaned"] == {"queued": 1, "failed": 0}


def test_resolving_an_orphan_ends_it(orphaned: str) -> None:
    assert call("cancel", "five/r2").exit_code == 0
    assert "no longer in the manifest" not in work(orphaned).stderr


def test_retry_does_not_promise_that_a_run_takes_an_orphan(orphaned: str) -> None:
    assert work(orphaned).exit_code == 0
    said = last(call("retry").stderr)
    assert "1 task queued again" in said
    assert "the next run takes" not in said
    assert said.endswith("; 1 has no row in the manifest any more and will not run without it")
    done = work(orphaned, "--json")
    assert json.loads(done.stdout)["reason"] == "all done"
    assert ": 2 done, 3 credits" in last(done.stderr)
    assert "1 task is no longer in the manifest: queued 1; " in done.stderr
    with Path(orphaned).open("a") as file:
        file.write("r2,five2.mp4,face.png\n")
    assert work(orphaned).exit_code == 3, "its row is back, and it was submitted"


def test_retry_counts_orphans_separately(shop: Place) -> None:
    name = shop.manifest("five.csv", 5, "broken")
    assert work(name).exit_code == 3
    without_the_last_row(name)
    done = work(name)
    assert done.exit_code == 3, "the others are asked for still"
    assert "4 failed" in last(done.stderr)
    said = last(call("retry").stderr)
    assert "5 tasks queued again" in said
    assert said.endswith("; the next run takes them; 1 has no row in the manifest any more and will not run without it")


def test_many_orphans_are_counted_and_three_are_named(shop: Place) -> None:
    name = shop.manifest("my five.csv", 5, "broken")
    work(name)
    change("update tasks set state = 'queued', code = '' where key in ('r3', 'r4')")
    Path(name).write_text(f"id,video,face\nr9,{shop.video('good.mp4')},face.png\n")
    said = work(name).stderr
    assert last(said).startswith("done: 1 done, ")
    assert "5 tasks are no longer in the manifest: queued 2, failed 3; " in said
    assert "`batchswap cancel 'my five/r3' 'my five/r4' 'my five/r0'` …\n" in said


EMPTY = {"csv": "id,video,face\n", "yaml": "name: five\ntasks: []\n"}


@pytest.mark.parametrize("form", EMPTY)
def test_a_manifest_without_rows_makes_all_its_tasks_orphans(shop: Place, form: str) -> None:
    assert work(shop.manifest("five.csv", 3), "--limit", "1").exit_code == 0
    Path("empty").write_text(EMPTY[form])
    Path("empty").replace(f"five.{form}")
    plan = json.loads(call("plan", f"five.{form}", "--json").stdout)
    assert (plan["batch"], plan["rows"]["orphaned"], plan["submits"]) == (["five"], 3, 0)
    for _ in range(2):
        done = work(f"five.{form}", "--json")
        said = json.loads(done.stdout)
        assert (said["exit_code"], said["batch"], said["requests"]["submit"]) == (0, ["five"], 0)
        assert (said["counts"]["queued"], said["counts"]["done"]) == (2, 1)
        assert "2 tasks are no longer in the manifest: queued 2; " in done.stderr


def test_a_plan_without_rows_names_its_batch(place: Place) -> None:
    Path("five.csv").write_text(EMPTY["csv"])
    assert call("plan", "five.csv").stdout.startswith("five: no rows\n")


@pytest.mark.parametrize(("stands", "code"), [("uncertain", 4), ("running", 3)])
def test_an_orphan_that_may_cost_something_counts_as_before(orphaned: str, stands: str, code: int) -> None:
    """Such as one running at another provider, which no run with this provider collects."""
    change("update tasks set state = ? where key = 'r2'", stands)
    change("update attempts set state = 'accepted', account = 'https://other.example' where state = 'failed'")
    done = work(orphaned)
    assert (done.exit_code, state("r2")) == (code, stands)
    assert f"1 {stands}" in last(done.stderr)


def test_queued_orphans_need_no_engine(orphaned: str) -> None:
    assert work(orphaned).exit_code == 0
    assert call("retry").exit_code == 0
    settings = msgspec.structs.replace(Settings(), batches=("five",))
    assert counts_of(settings)["queued"] == 1
    assert not has_work(settings, counts_of(settings))
    change("update tasks set state = 'queued', generation = (select generation from batches) where key = 'r1'")
    assert has_work(settings, counts_of(settings))
