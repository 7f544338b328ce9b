"""An unavailable API: how long a run waits, which calls it sends meanwhile, and that it ends."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from itertools import cycle
from math import inf
from pathlib import Path
from typing import Any

import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.errors import Exit, MaybeSent
from batchswap.ratelimit.rule import Rate
from batchswap.ratelimit.shared_window import SharedWindow
from batchswap.runner.background import RunView
from batchswap.runner.scheduler import GRACE
from tests.loop.service import Service, lognormal
from tests.loop.world import World
from tests.virtual import VirtualClock

QUICK = lognormal(6, 0.35)
HOUR = 3600.0


async def test_a_run_that_begins_during_maintenance_waits_for_its_end(tmp_path: Path) -> None:
    service = Service(
        VirtualClock(), durations=QUICK, fault=lambda s, _: "455" if s.clock.monotonic() < 2400.0 else None
    )
    summary = await World(tmp_path, 5).run(service)
    assert summary.counts["done"] == 5
    assert summary.requests["balance"] <= 42


@pytest.mark.parametrize("fault", ["455", "429", "500"])
@pytest.mark.parametrize("since", [0.0, 30.0])
async def test_an_api_that_refuses_everything_ends_the_run_when_patience_does(
    tmp_path: Path, fault: str, since: float
) -> None:
    service = Service(
        VirtualClock(), durations=QUICK, fault=lambda s, _: fault if s.clock.monotonic() >= since else None
    )
    async with asyncio.timeout(3 * HOUR):
        summary = await World(tmp_path, 500).run(service, patience=2 * HOUR)
    assert summary.exit_code in (Exit.UNAVAILABLE, Exit.UNCERTAIN)
    assert "stayed unavailable" in summary.reason
    assert asyncio.get_running_loop().time() >= 2 * HOUR
    assert summary.counts["queued"] > 400
    assert summary.counts["failed"] == 0
    assert service.requests["balance"] < 200


@pytest.mark.parametrize("fault", ["500", "unsent", "455"])
async def test_the_reason_to_wait_is_reported_once_and_displayed_until_it_ends(tmp_path: Path, fault: str) -> None:
    shown: list[tuple[float, str]] = []
    clock = VirtualClock()

    async def watch(look: Callable[[], RunView]) -> None:
        while True:
            shown.append((clock.monotonic(), look().waiting))
            await asyncio.sleep(10.0)

    service = Service(clock, durations=QUICK, fault=lambda s, _: fault if 30.0 <= s.clock.monotonic() < 930.0 else None)
    world = World(tmp_path, 200)
    await world.run(service, watch=watch)
    assert all(words.startswith("waiting: ") for at, words in shown if 60.0 < at < 930.0)
    assert not any(words for at, words in shown if at < 30.0 or at > 1100.0)
    about = [line for line in world.said if line.startswith("the API ")]
    away = "is under maintenance" if fault == "455" else "the API is unavailable"
    assert [away in about[0], about[1:]] == [True, ["the API answers again"]]


@pytest.mark.parametrize("fault", ["unsent", "dropped"])
async def test_many_calls_that_fail_in_one_moment_do_not_end_a_run(tmp_path: Path, fault: str) -> None:
    """A machine that has just started may have no network yet."""

    service = Service(VirtualClock(), durations=QUICK, fault=lambda s, _: fault if s.clock.monotonic() < 8.0 else None)
    summary = await World(tmp_path, 50).run(service, budget=1000.0, rate_limit=None)
    assert summary.counts["done"] == 50


@pytest.mark.parametrize("faults", [("455",), ("455", "429", "unsent", "429")])
async def test_submits_that_alone_are_postponed_stop_when_patience_ends(
    tmp_path: Path, faults: tuple[str, ...]
) -> None:
    """All other calls work, and running tasks are collected."""

    world, clock, next_fault = World(tmp_path, 20), VirtualClock(), cycle(faults)
    service = Service(clock, durations=lambda _: 3 * HOUR)
    service.fault = lambda _, kind: next(next_fault) if kind == "submit" and clock.monotonic() > 5.0 else None
    summary = await world.run(service, patience=2 * HOUR, deadline=clock.now() + 24 * HOUR)
    assert summary.exit_code == Exit.UNAVAILABLE
    assert "submits were only postponed" in summary.reason
    assert summary.counts["done"] == len(service.tasks) > 0
    assert clock.monotonic() < 4 * HOUR
    service.fault = None
    assert (await world.run(service)).counts["done"] == 20


async def test_an_accepted_submit_restarts_the_patience(tmp_path: Path) -> None:
    world, clock = World(tmp_path, 20), VirtualClock()
    service = Service(clock, durations=lambda _: 600.0)
    service.fault = lambda _, kind: "455" if kind == "submit" and clock.monotonic() % HOUR < 3000.0 else None
    summary = await world.run(service, patience=HOUR, in_flight=1)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 20)
    assert clock.monotonic() > 5 * HOUR


async def test_a_missing_balance_call_is_not_retried_forever(tmp_path: Path) -> None:
    lost = iter([True])

    def fault(_: Service, kind: str) -> str | None:
        if kind == "submit":
            return "lost" if next(lost, False) else None
        return "404" if kind == "balance" else None

    service = Service(VirtualClock(), durations=QUICK, fault=fault)
    async with asyncio.timeout(HOUR):
        summary = await World(tmp_path, 5).run(service)
    assert (summary.counts["done"], summary.counts["uncertain"]) == (4, 1)


class Mute(Service):
    """Never answers calls of some kinds from a given time on."""

    kinds: tuple[str, ...] = ()
    since = 0.0

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        if kind in self.kinds and self.clock.monotonic() >= self.since:
            self.requests[kind] += 1
            await asyncio.sleep(130.0)
            raise MaybeSent("no answer in time")
        return await super()._call(kind, answer)


ALL = ("submit", "poll", "balance", "estimate")


@pytest.mark.parametrize("since", [0.0, 20.0])
@pytest.mark.parametrize("patience", [5.0, 45.0])
async def test_an_api_that_never_answers_ends_the_run_when_patience_does(
    tmp_path: Path, since: float, patience: float
) -> None:
    """The clock decides, although each single call would hang for longer."""

    service = Mute(VirtualClock(), durations=lambda _: 10.0)
    service.kinds, service.since = ALL, since
    summary = await World(tmp_path, 5).run(service, patience=patience, in_flight=1)
    assert summary.exit_code in (Exit.UNAVAILABLE, Exit.UNCERTAIN)
    assert "stayed unavailable" in summary.reason
    took = asyncio.get_running_loop().time()
    assert since + patience <= took <= since + max(patience, GRACE) + 10.0 + 2.0


async def test_a_slow_submit_does_not_count_as_an_outage(tmp_path: Path) -> None:
    class Slow(Service):
        async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
            await asyncio.sleep(25.0)
            return await super().create_task(body, ref)

    service = Slow(VirtualClock(), durations=QUICK)
    summary = await World(tmp_path, 2).run(service, patience=6.0, in_flight=1)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 2)


class Pausing(Service):
    """Answers 429 with a Retry-After until a given time."""

    until, seconds = inf, 31_536_000.0

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        if self.clock.monotonic() < self.until:
            now = self.clock.monotonic()
            self.requests[kind] += 1
            return Answer(429, 429, "", None, self.seconds, now, now)
        return await super()._call(kind, answer)


@pytest.mark.parametrize("seconds", [31_536_000.0, 1e300, 61.0])
@pytest.mark.parametrize("rate_limit", [20, None])
async def test_a_pause_beyond_all_patience_ends_with_it(tmp_path: Path, seconds: float, rate_limit: int | None) -> None:
    world, service = World(tmp_path, 5), Pausing(VirtualClock(), durations=QUICK)
    service.seconds = seconds
    summary = await world.run(service, patience=6.0, rate_limit=rate_limit)
    assert summary.exit_code == Exit.UNAVAILABLE
    assert 6.0 <= asyncio.get_running_loop().time() <= 8.0
    service.until = 0.0
    assert (await world.run(service, patience=6.0)).counts["done"] == 5  # the key is not silenced any longer
    assert asyncio.get_running_loop().time() < 60.0


async def test_in_a_long_pause_one_probe_a_minute_finds_its_end(tmp_path: Path) -> None:
    world, service = World(tmp_path, 5), Pausing(VirtualClock(), durations=QUICK)
    service.until = 600.0
    summary = await world.run(service)
    assert summary.counts["done"] == 5
    assert service.last_end < 700.0
    assert service.requests["balance"] <= 13
    assert service.requests.total() <= 13 + 20
    assert sum("long pause" in line for line in world.said) == 1


async def test_another_process_of_the_key_waits_no_longer_than_its_own_patience(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    with closing(SharedWindow(world.window, Rate(20, 10.0), VirtualClock())) as other:
        other.pause(31_536_000.0)
    summary = await world.run(Service(VirtualClock(), durations=QUICK), patience=20.0)
    assert summary.counts["done"] == 2
    assert 20.0 <= asyncio.get_running_loop().time() < 60.0


async def test_a_process_that_was_stopped_reads_its_answers_before_it_gives_up(tmp_path: Path) -> None:
    """The clock jumps by an hour, as after SIGSTOP. This does not count as an outage."""

    class Stopped(VirtualClock):
        skipped = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.skipped

    class Stoppable(World):
        stopped = Stopped()

        def clock(self) -> VirtualClock:
            return self.stopped

    world = Stoppable(tmp_path, 1)

    class Long(Service):
        async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
            asyncio.get_running_loop().call_later(1.0, skip)
            await asyncio.sleep(3.0)
            return await super().create_task(body, ref)

    def skip() -> None:
        world.stopped.skipped = HOUR

    summary = await world.run(Long(world.stopped, durations=QUICK), patience=8.0, rate_limit=None)
    assert summary.counts["done"] == 1
