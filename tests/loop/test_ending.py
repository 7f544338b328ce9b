"""How a run ends that is ended: what still counts then, and that nobody waits for what nobody needs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchswap.downloads import Verified
from batchswap.errors import Exit
from tests.loop.service import Service, Shelf
from tests.loop.world import World
from tests.virtual import START, VirtualClock, run

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class SlowShelf(Shelf):
    """The first download ends, by the run's clock, when it is told to."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until

    async def fetch(self, *args: Any, **options: Any) -> Verified:
        until, self._until = self._until, 0.0
        await asyncio.sleep(until - VirtualClock().monotonic())
        return await super().fetch(*args, **options)


def slow_world(folder: Path, until: float, **settings: object) -> World:
    world = World(folder, 2, **settings)
    world.shelf = SlowShelf(until)
    return world


def test_what_is_all_done_when_the_grace_ends_was_not_stopped_by_the_deadline(tmp_path: Path) -> None:
    async def script() -> None:
        world, service = slow_world(tmp_path, HOUR + 5.0), Service(VirtualClock(), durations=lambda _: 5.0)
        summary = await world.run(service, deadline=START + HOUR)
        assert VirtualClock().monotonic() > HOUR, "the deadline came first"
        assert summary.counts["done"] == 2
        assert (summary.exit_code, summary.reason) == (Exit.DONE, "all done")

    run(script())


def test_rows_that_are_not_asked_for_are_not_left_by_the_deadline(tmp_path: Path) -> None:
    async def script() -> None:
        world = slow_world(tmp_path, HOUR + 5.0, limit=1)
        summary = await world.run(Service(VirtualClock(), durations=lambda _: 5.0), deadline=START + HOUR)
        assert (summary.exit_code, summary.counts["queued"]) == (Exit.DONE, 1)

    run(script())


def test_what_the_grace_does_not_save_is_left_by_the_deadline(tmp_path: Path) -> None:
    async def script() -> None:
        world, service = slow_world(tmp_path, HOUR + 15.0), Service(VirtualClock(), durations=lambda _: 5.0)
        summary = await world.run(service, deadline=START + HOUR)
        assert (summary.exit_code, summary.counts["fetching"]) == (Exit.DEADLINE, 1)
        assert (await world.run(service)).exit_code == Exit.DONE

    run(script())
