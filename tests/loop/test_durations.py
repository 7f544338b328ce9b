"""How soon the end of a task is found, with and without known durations."""

from contextlib import closing
from pathlib import Path

import pytest

from batchswap.ledger import queries
from batchswap.ledger.file import connection
from batchswap.runner.task_context import class_of
from batchswap.tasks import Model
from tests.loop.service import Service, lognormal
from tests.loop.test_uploads import made, row
from tests.loop.world import World, rows
from tests.pure.test_report_planning import movie
from tests.virtual import VirtualClock


@pytest.mark.parametrize("median", [0.8, 3.0, 40.0])
async def test_without_a_limit_a_few_tasks_on_a_fresh_ledger_are_found_soon(tmp_path: Path, median: float) -> None:
    clock = VirtualClock()
    world, service = World(tmp_path, 6), Service(clock, durations=lognormal(median, 0.3))
    await world.run(service, rate_limit=None)
    assert clock.monotonic() < 1.25 * service.last_end + 0.1


@pytest.mark.parametrize("seed", [1, 4, 5, 7])
async def test_a_history_of_slow_days_does_not_hold_a_quick_day_back(tmp_path: Path, seed: int) -> None:
    """Two runs of the same work differ only in their history."""

    async def seconds(folder: Path, *medians: float) -> float:
        folder.mkdir()
        world, clock = World(folder, 0), VirtualClock()
        for number, median in enumerate(medians):
            world.enrol(rows(60, 60 * number))
            begun, service = clock.monotonic(), Service(clock, durations=lognormal(median, 0.3), seed=seed)
            await world.run(service, rate_period=1.0, in_flight=20)
        return clock.monotonic() - begun

    assert await seconds(tmp_path / "slow", 300.0, 5.0) < 1.4 * await seconds(tmp_path / "fresh", 5.0)


async def test_the_length_of_a_target_is_remembered_with_what_it_took(tmp_path: Path) -> None:
    clips = {name: movie(tmp_path / f"{name}.mp4", seconds) for name, seconds in {"long": 65, "short": 5}.items()}
    world = made(tmp_path, [row(name, clip) for name, clip in clips.items()])
    service = Service(VirtualClock(), durations=lognormal(6.0, 0.3))
    assert (await world.run(service)).counts["done"] == 2
    with closing(connection.connect(world.settings.db, write=False)) as db:
        past = queries.took(db)
    groups = {class_of(each.model, each.seconds).group for each in past}
    assert groups == {"video-face-swap/7", "video-face-swap/1"}
    assert all(each.model is Model.VIDEO and 2.0 < each.took < 20.0 for each in past)
