"""The drawn nights as ticks: the same promises hold, and without luck involved, both end in the same way."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.runner.summary import Summary
from tests.chaos.conftest import PROFILE
from tests.chaos.faulty_service import FaultyService
from tests.chaos.killable_run import KillableRuns
from tests.chaos.schedules import Schedule
from tests.chaos.test_schedules import SCHEDULES, check, check_end, faults
from tests.virtual import inline_threads, run

EVERY = 300.0
AT_REST = 14
"""Ticks without any change after which nothing more will happen: longer than any pause, and any wait for a result."""
MOST = 400

# Faults that change only when something happens. A run that never gets any answer would end at once.
LUCKLESS = st.builds(
    Schedule,
    tasks=st.integers(1, 12),
    submits=faults(("429", "455", "unsent"), 12),
    polls=faults(("429", "429+", "455", "500", "dropped", "unsent", "404", "no-media", "not-json", "slow"), 20),
    free=faults(("429", "429+", "455", "500"), 6),
    downloads=faults(("gone", "truncated"), 3),
    storms=st.lists(
        st.tuples(st.floats(5.0, 900.0), st.floats(1.0, 200.0), st.sampled_from(["429", "455", "unsent"])), max_size=2
    ),
    jumps=st.lists(st.tuples(st.floats(0.0, 900.0), st.sampled_from([-60.0, 5.0])), max_size=1),
    median=st.sampled_from([0.02, 6.0, 120.0, 900.0]),
    limit=st.sampled_from([None, 20]),
    in_flight=st.integers(1, 20),
    workers=st.integers(1, 8),
    budget=st.none() | st.integers(1, 12).map(float),
)


@pytest.fixture(autouse=True, scope="module")
def _inline() -> Iterator[None]:
    with inline_threads():
        yield


async def tick_on(world: KillableRuns, schedule: Schedule) -> FaultyService:
    """Run a tick every five minutes, until nothing changes any more."""
    service = FaultyService(schedule, world)
    unchanged, before = 0, None
    while unchanged < AT_REST and (world.is_busy or unchanged < 2):
        assert world.lives < MOST, "it never comes to rest"
        await world.live(service)
        check(world, service, schedule)
        now = (world.counts(), service.requests["submit"])
        unchanged, before = (unchanged + 1 if now == before else 0), now
        await asyncio.sleep(EVERY)
    return service


@PROFILE
@given(SCHEDULES)
def test_nothing_lost_nothing_paid_twice_in_ticks(schedule: Schedule) -> None:
    async def night(world: KillableRuns) -> None:
        service = await tick_on(world, schedule)
        check_end(world, service)
        counts = world.counts()
        assert counts["running"] == counts["fetching"] == counts["submitting"] == 0

    with (
        tempfile.TemporaryDirectory() as folder,
        closing(KillableRuns(Path(folder), schedule, mode="tick", patience=30.0)) as world,
    ):
        run(night(world))


@PROFILE
@given(LUCKLESS)
def test_ticks_end_like_one_long_run(schedule: Schedule) -> None:
    async def as_one(world: KillableRuns) -> Summary | None:
        await world.live(FaultyService(schedule, world))
        return world.last

    async def as_ticks(world: KillableRuns) -> Summary | None:
        await tick_on(world, schedule)
        return world.last

    ends, files = list[Summary | None](), list[set[str]]()
    for play, more in ((as_one, {}), (as_ticks, {"mode": "tick", "patience": 30.0})):
        with (
            tempfile.TemporaryDirectory() as folder,
            closing(KillableRuns(Path(folder), schedule, **more)) as world,
        ):
            ends.append(run(play(world)))
            files.append(set(world.shelf.files))
    one, many = ends
    assert one is not None
    assert many is not None
    assert (many.counts, many.credits["spent"], many.exit_code) == (one.counts, one.credits["spent"], one.exit_code)
    assert len(files[1]) == len(files[0]) == one.counts["done"]
