"""The view of a run for the display: only the tasks that this run will do count as its work."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchswap.report.progress import Progress, Shown
from batchswap.report.run_result import last_line
from batchswap.runner.background import RunView
from batchswap.runner.summary import Summary
from tests.loop.service import Service, lognormal
from tests.loop.world import World, rows
from tests.virtual import VirtualClock

QUICK = lognormal(6, 0.35)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def watched(world: World, **changes: Any) -> tuple[list[Shown], Summary]:
    """Return the views of each second, and the summary."""
    shown: list[Shown] = []

    async def watch(look: Callable[[], RunView]) -> None:
        progress = Progress(look(), 0.0)
        while True:
            shown.append(progress.at(look(), asyncio.get_running_loop().time()))
            await asyncio.sleep(1.0)

    summary = await world.run(Service(VirtualClock(), durations=QUICK), watch=watch, **changes)
    return shown, summary


@pytest.mark.parametrize("changes", [{"limit": 12}, {"filter": "/1"}])
async def test_rows_that_a_run_leaves_out_are_not_its_work(tmp_path: Path, changes: dict[str, object]) -> None:
    wanted = 12 if "limit" in changes else sum(f"/{i}.mp4".startswith("/1") for i in range(50))
    shown, summary = await watched(World(tmp_path, 50), **changes)
    assert {(each.total, each.left_out) for each in shown} == {(wanted, 50 - wanted)}
    assert shown[0].queued == wanted
    assert shown[-1].queued == 0
    assert summary.counts["done"] == wanted


async def test_orphans_are_not_the_work_of_a_run(tmp_path: Path) -> None:
    world = World(tmp_path, 30)
    world.enrol(rows(10))
    shown, _ = await watched(world)
    assert {(each.total, each.left_out) for each in shown} == {(10, 20)}


async def test_rows_that_are_no_longer_submitted_are_not_awaited(tmp_path: Path) -> None:
    shown, summary = await watched(World(tmp_path, 50), budget=20.0)
    assert (shown[0].total, shown[0].left_out) == (50, 0)
    assert (shown[-1].total, shown[-1].queued, shown[-1].left_out) == (20, 0, 30)
    assert "to resume: again" in last_line(summary, World(tmp_path, 0).settings, "again")


async def test_a_command_that_would_do_nothing_is_not_suggested(tmp_path: Path) -> None:
    """Rows that --limit leaves out stay queued, however often the command is repeated."""
    world = World(tmp_path, 5)

    service = Service(VirtualClock(), durations=QUICK, fault=lambda _, kind: "lost" if kind == "submit" else None)
    line = last_line(await world.run(service, limit=2), world.settings, "batchswap run b.csv --limit 2")
    assert "2 uncertain, 3 queued" in line
    assert "resume" not in line
