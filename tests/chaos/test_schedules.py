"""Drawn nights: any faults in any order, with the process killed at any moment."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.chaos.conftest import PROFILE
from tests.chaos.faulty_service import FaultyService
from tests.chaos.killable_run import KillableRuns
from tests.chaos.schedules import (
    CALLBACKS,
    DOWNLOAD_FAULTS,
    FREE_FAULTS,
    NEVER_TAKEN,
    POLL_FAULTS,
    TAKEN,
    Kill,
    Schedule,
)
from tests.virtual import inline_threads, run

MOST_LIVES = 30


@pytest.fixture(autouse=True, scope="module")
def _inline() -> Iterator[None]:
    with inline_threads():
        yield


def faults(of: tuple[str, ...], most: int) -> st.SearchStrategy[list[str | None]]:
    return st.lists(st.none() | st.sampled_from(of), max_size=most)


KILLS = st.builds(Kill, seconds=st.floats(0.0, 120.0)) | st.builds(Kill, commit=st.integers(1, 40), after=st.booleans())
STORMS = st.tuples(
    st.floats(0.0, 300.0), st.floats(1.0, 200.0), st.sampled_from(["429", "429+", "455", "500", "unsent", "dropped"])
)
SCHEDULES = st.builds(
    Schedule,
    tasks=st.integers(1, 12),
    submits=faults(NEVER_TAKEN + TAKEN, 20),
    polls=faults(POLL_FAULTS, 25),
    free=faults(FREE_FAULTS, 6),
    downloads=faults(DOWNLOAD_FAULTS, 8),
    callbacks=st.none() | st.lists(st.sampled_from(CALLBACKS), max_size=12),
    storms=st.lists(STORMS, max_size=2),
    kills=st.lists(KILLS, max_size=5),
    jumps=st.lists(st.tuples(st.floats(0.0, 300.0), st.sampled_from([-86400.0, -60.0, 5.0, 3600.0])), max_size=2),
    median=st.sampled_from([0.02, 6.0, 120.0]),
    failing=st.sampled_from([0.0, 0.3]),
    limit=st.sampled_from([None, 2, 20]),
    in_flight=st.integers(1, 20),
    workers=st.integers(1, 8),
    budget=st.none() | st.integers(1, 12).map(float),
    paid_attempts=st.integers(1, 2),
)


@PROFILE
@example(Schedule(tasks=1, storms=[(1.0, 8.0, "unsent")]))
@example(Schedule(tasks=4, submits=["lost"], callbacks=["foreign", "lost", "lost", "lost"]))
@example(Schedule(tasks=6, submits=[None, "429+", "named-429"], limit=20))
@given(SCHEDULES)
def test_nothing_lost_nothing_paid_twice(schedule: Schedule) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(KillableRuns(Path(folder), schedule)) as world:
        run(live_on(world, schedule))


@pytest.mark.parametrize("callbacks", [None, ["on time"] * 9], ids=["polls", "callbacks"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("commit", range(1, 13))
def test_killed_at_every_commit(tmp_path: Path, commit: int, after: bool, callbacks: list[str] | None) -> None:
    """In a small batch whose results arrive during other submits. The next process is killed there too."""
    kills, tasks = [Kill(commit=commit, after=after)] * 2, 3 if callbacks is None else 1
    schedule = Schedule(tasks=tasks, kills=kills, callbacks=callbacks, in_flight=2, limit=20, median=1.0)
    with closing(KillableRuns(tmp_path, schedule)) as world:
        run(live_on(world, schedule))


async def live_on(world: KillableRuns, schedule: Schedule) -> None:
    """Run again and again, as cron would, until nothing is left to do and nothing changes any more."""
    service = FaultyService(schedule, world)
    before = None
    while world.is_busy or before != (before := (world.counts(), len(service.came))):
        assert world.lives < MOST_LIVES, "it never comes to rest"
        await world.live(service)
        check(world, service, schedule)
        await asyncio.sleep(300.0)
    check_end(world, service)


def check(world: KillableRuns, service: FaultyService, schedule: Schedule) -> None:
    """Check everything that must hold after every process."""
    counts = world.counts()
    assert max(service.accepted.values(), default=0) <= schedule.paid_attempts  # more: FaultyService looks at each
    at_rest = counts["queued"] + counts["cancelled"]
    accepted = sum(1 for times in service.accepted.values() if times)
    queued_again = world.select("select count(*) from tasks where state = 'queued' and paid > 0")[0][0]
    assert accepted <= schedule.tasks - at_rest + queued_again
    assert counts["done"] <= len(world.shelf.files)
    if schedule.limit is not None:
        assert service.busiest_of_all(10.0) <= schedule.limit
    recorded = {row[0] for row in world.select("select remote_id from attempts where remote_id is not null")}
    assert recorded <= set(service.tasks)


def check_end(world: KillableRuns, service: FaultyService) -> None:
    """Check everything that must hold at the end."""
    counts = world.counts()
    assert len(world.shelf.files) == counts["done"]
    recorded = {row[0] for row in world.select("select remote_id from attempts where remote_id is not null")}
    assert len(set(service.tasks) - recorded) <= counts["uncertain"]
