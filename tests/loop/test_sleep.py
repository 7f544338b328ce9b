"""A laptop sleeps during a run: timers stop, and the API goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import Exit
from batchswap.events import LogEvent
from batchswap.ratelimit.rule import Rate
from tests.loop.service import Service
from tests.loop.world import World
from tests.virtual import START, VirtualClock

HOUR = 3600.0
ASLEEP = 30.0
"""Time of the loop at which the machine falls asleep."""


class Slept(VirtualClock):
    """The clocks go on for `hours` while the loop's own time stops, because its timers do not count sleep."""

    def __init__(self, hours: float, at: float) -> None:
        self.hours, self.at = hours, at

    def monotonic(self) -> float:
        awake = super().monotonic()
        return awake + (self.hours * HOUR if awake >= self.at else 0.0)

    def now(self) -> float:
        return START + self.monotonic()


class Laptop(World):
    """Runs on a machine that sleeps for 8 hours."""

    hours, at = 8.0, ASLEEP

    def clock(self) -> VirtualClock:
        return Slept(self.hours, self.at)


def awake() -> float:
    """Return the time of the loop, without sleep."""
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("hours", [0.02, 0.5, 8.0, 200.0])
async def test_waking_leads_to_no_storm_of_requests_and_no_time_out(tmp_path: Path, hours: float) -> None:
    world = Laptop(tmp_path, 200)
    world.hours = hours
    service = Service(world.clock(), durations=lambda _: 60.0, limit=20, period=10.0)
    summary = await world.run(service, in_flight=50)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 200)
    assert service.refused == 0
    assert summary.counts["uncertain"] == 0
    for rate in (Rate(20, 10.0), Rate(3, 1.0)):  # they leave at even spaces also after waking
        for first, last in zip(service.sent, service.sent[rate.limit :], strict=False):
            assert last - first >= rate.period
    woken = [words for words in world.said if words.startswith("the machine slept")]
    assert len(woken) == 1


@pytest.mark.parametrize("at", [1003.0, 2017.0, 3001.0, 4001.0])
async def test_a_task_that_ended_meanwhile_is_collected_soon_after_waking(tmp_path: Path, at: float) -> None:
    world = Laptop(tmp_path, 1)
    world.at = at
    summary = await world.run(Service(world.clock(), durations=lambda _: 2 * HOUR))
    assert summary.counts["done"] == 1
    assert awake() < at + 10.0, "and not after another two hours"
    assert summary.seconds > 8 * HOUR


async def test_an_outage_before_and_after_the_sleep_is_short(tmp_path: Path) -> None:
    """The network needs a minute after waking. Neither --patience nor --task-timeout has passed."""
    world = Laptop(tmp_path, 4)

    def fault(_: Service, kind: str) -> str | None:
        return "unsent" if ASLEEP - 10.0 <= awake() <= ASLEEP + 60.0 else None

    summary = await world.run(Service(world.clock(), durations=lambda _: 15.0, fault=fault), in_flight=2)
    assert (summary.exit_code, summary.counts["done"], summary.counts["failed"]) == (Exit.DONE, 4, 0)


async def test_a_task_without_a_useful_answer_before_the_sleep_is_not_given_up(tmp_path: Path) -> None:
    world = Laptop(tmp_path, 1)

    def fault(_: Service, kind: str) -> str | None:
        return "500" if kind == "poll" and awake() <= ASLEEP + 30.0 else None

    service = Service(world.clock(), durations=lambda _: 10.0, fault=fault)
    summary = await world.run(service, task_timeout=2 * HOUR, patience=2 * HOUR)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 1)


@pytest.mark.parametrize("limit", ["deadline", "ends_at"])
async def test_a_deadline_that_passed_in_the_sleep_is_kept_on_waking(tmp_path: Path, limit: str) -> None:
    world = Laptop(tmp_path, 500)
    limits: Any = {limit: {"deadline": START + 2 * HOUR, "ends_at": 2 * HOUR}[limit]}
    summary = await world.run(Service(world.clock(), durations=lambda _: 5.0), **limits)
    assert summary.exit_code == Exit.DEADLINE
    assert awake() < ASLEEP + 40.0


async def test_a_short_nap_is_not_reported(tmp_path: Path) -> None:
    world = Laptop(tmp_path, 30)
    world.hours = 3.0 / HOUR
    summary = await world.run(Service(world.clock(), durations=lambda _: 5.0), in_flight=3)
    assert summary.exit_code == Exit.DONE
    assert LogEvent.WOKEN not in [event for event, _ in world.events]


async def test_sleep_outside_of_a_wait_is_noticed(tmp_path: Path) -> None:
    """The machine can fall asleep at any moment, here while the free space is looked up."""
    world = Laptop(tmp_path, 30)
    world.at = float("inf")
    clock = Slept(8.0, float("inf"))
    world.clock = lambda: clock  # type: ignore[method-assign]
    free = world.shelf.free

    def fall_asleep() -> int:
        if awake() > 10.0 and clock.at == float("inf"):
            clock.at = awake()
        return free()

    world.shelf.free = fall_asleep  # type: ignore[method-assign]
    summary = await world.run(Service(clock, durations=lambda _: 60.0, limit=20, period=10.0))
    assert summary.counts["done"] == 30
    assert sum(words.startswith("the machine slept") for words in world.said) == 1
