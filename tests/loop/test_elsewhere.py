"""Tasks of another provider: a run with this provider neither collects them nor reports that all is done."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from batchswap.errors import Exit
from batchswap.ledger.file import connection
from batchswap.report.run_result import last_line
from batchswap.runner.background import RunView
from batchswap.runner.run import Account, work_off
from batchswap.runner.stop_reasons import elsewhere_words
from batchswap.runner.summary import Summary
from tests.loop.service import Service
from tests.loop.world import World, rows
from tests.virtual import START, VirtualClock, run

OTHER = Account("http://127.0.0.1:9", "http://127.0.0.1:9", "ak_" + "0" * 32)
"""Nobody listens there: it must not be asked."""
SENTENCE = "1 unfinished task was submitted elsewhere: it waits for a run with --base-url https://"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One task, running."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made, clock = World(tmp_path, 1), VirtualClock()
    summary = run(made.run(Service(clock, durations=lambda _: 200.0), deadline=START + 150.0))
    assert summary.counts["running"] == 1
    return made


def change(world: World, sql: str) -> None:
    with closing(connection.connect(world.settings.db, write=True)) as db:
        db.execute(sql)


def work_off_elsewhere(world: World, **changes: object) -> Summary:
    async def watch(look: Callable[[], RunView]) -> None:
        await asyncio.Event().wait()

    settings = msgspec.structs.replace(world.settings, rate_limit=None, **changes)
    return asyncio.run(work_off(settings, OTHER, report=world.report, watch=watch))


def test_without_other_work_they_are_reported_and_decide_the_exit_code(world: World) -> None:
    summary = work_off_elsewhere(world)
    assert (summary.exit_code, summary.reason) == (Exit.FAILED, f"{SENTENCE}api.example")
    assert sum(summary.requests.values()) == 0
    line = last_line(summary, world.settings, "batchswap run b.csv")
    assert line.startswith(f"{SENTENCE}api.example: 1 running, 0 credits")
    assert "resume" not in line, "the same command would not help"


def test_with_other_work_they_are_reported_and_decide_the_exit_code(world: World) -> None:
    change(world, "update attempts set account = 'https://other.example'")
    world.enrol(rows(3))
    summary = run(world.run(Service(VirtualClock(), durations=lambda _: 5.0)))
    assert (summary.exit_code, summary.reason) == (Exit.FAILED, f"{SENTENCE}other.example")
    assert (summary.counts["done"], summary.counts["running"]) == (2, 1)
    assert f"{SENTENCE}other.example" in world.warned


def test_open_tasks_of_another_batch_do_not_count(world: World) -> None:
    assert work_off_elsewhere(world, batches=("other",)).exit_code == Exit.DONE


def test_a_submit_that_died_elsewhere_is_uncertain_here_too(world: World) -> None:
    change(world, "update tasks set state = 'submitting'")
    change(world, "update attempts set state = 'open', remote_id = null")
    summary = work_off_elsewhere(world)
    assert (summary.exit_code, summary.counts["uncertain"]) == (Exit.UNCERTAIN, 1)
    assert sum(summary.requests.values()) == 0


def test_each_account_is_named_by_its_option() -> None:
    said = elsewhere_words({"local": 1, "https://api.example/v 2": 1})
    assert said == (
        "2 unfinished tasks were submitted elsewhere: they wait for a run with"
        " --base-url 'https://api.example/v 2' or --provider local"
    )
