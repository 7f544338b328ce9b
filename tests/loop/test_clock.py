"""The machine's clock is set during a run, or between two runs."""

from contextlib import closing
from math import inf
from pathlib import Path

import pytest

from batchswap.errors import Exit
from batchswap.ledger import queries
from batchswap.ledger.file import connection
from batchswap.ledger.runs import traffic
from batchswap.report import status
from tests.loop.service import Service
from tests.loop.world import World
from tests.virtual import START, VirtualClock

HOUR = 3600.0
YEARS = 50 * 365 * 86_400.0


class Set(VirtualClock):
    """The time of day jumps by `by` at `at`."""

    def __init__(self, by: float, at: float = 30.0) -> None:
        self.by, self.at = by, at

    def now(self) -> float:
        return super().now() + (self.by if self.monotonic() >= self.at else 0.0)


class Jumpy(World):
    """Runs with that clock."""

    by, at = 0.0, inf

    def clock(self) -> VirtualClock:
        return Set(self.by, self.at)


@pytest.mark.parametrize("by", [-HOUR, HOUR, -YEARS, YEARS])
async def test_no_duration_is_negative_or_absurd_after_the_clock_was_set(tmp_path: Path, by: float) -> None:
    world = Jumpy(tmp_path, 12)
    world.by, world.at = by, 30.0
    summary = await world.run(Service(world.clock(), durations=lambda _: 20.0), in_flight=4)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 12)
    assert 60.0 <= summary.seconds <= 120.0
    with closing(connection.connect(world.settings.db, write=False)) as db:
        lines = list(status.to_lines(status.gather(db, world.settings.db), world.settings.db, START, None))
        assert all(0.0 <= past.took <= 60.0 for past in queries.took(db))
        course = traffic.course(db, 1)
    said = next(line for line in lines if line.startswith("last run"))
    assert ", took 1 min" in said
    assert course is not None
    assert len(course.in_flight) * course.step <= 150


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_duration_does_not_depend_on_the_time_of_day(tmp_path: Path, by: float) -> None:
    world = Jumpy(tmp_path, 5000)
    world.by, world.at = by, 30.0
    summary = await world.run(Service(world.clock(), durations=lambda _: 5.0), ends_at=300.0)
    assert summary.exit_code == Exit.DEADLINE
    assert 200.0 <= summary.seconds <= 301.0


async def test_a_deadline_comes_sooner_when_the_clock_is_set_forward(tmp_path: Path) -> None:
    world = Jumpy(tmp_path, 1)
    world.by, world.at = HOUR, 100.0
    service = Service(world.clock(), durations=lambda _: 3000.0)
    summary = await world.run(service, deadline=START + HOUR)
    assert summary.exit_code == Exit.DEADLINE
    assert 100.0 <= summary.seconds <= 131.0


@pytest.mark.parametrize("by", [-HOUR, -YEARS, YEARS])
async def test_a_task_of_another_clock_is_neither_given_up_nor_learned_from(tmp_path: Path, by: float) -> None:
    """A machine without a battery-backed clock starts in 1970, and is set when it finds the network."""

    world = Jumpy(tmp_path, 1)
    service = Service(world.clock(), durations=lambda _: 400.0)
    await world.run(service, ends_at=100.0)
    assert world.counts()["running"] == 1
    world.by, world.at = by, 0.0
    summary = await world.run(service)
    assert summary.counts["done"] == 1
    assert summary.seconds < 1000.0
