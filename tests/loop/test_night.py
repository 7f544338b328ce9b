"""A night in virtual time: maintenance, 429 storms, lost answers, failed generations, and a kill every hour."""

import asyncio
import random
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.ledger.file import connection
from batchswap.runner.summary import Summary
from tests.loop.service import Service, lognormal
from tests.loop.world import World
from tests.virtual import VirtualClock

TASKS = 5000
HOUR = 3600.0


class Night:
    """Faults of a night from 22:00 on. Times are seconds since then."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.storms = [self.dice.uniform(0, 8 * HOUR) for _ in range(12)]

    def __call__(self, service: Service, kind: str) -> str | None:
        now = service.clock.monotonic()
        if 4 * HOUR <= now < 4 * HOUR + 2400.0:
            return "455"
        if any(start <= now < start + 20.0 for start in self.storms):
            return "429"
        if kind == "submit" and self.dice.random() < 0.01:
            return self.dice.choice(["lost", "dropped", "500"])
        return "500" if kind == "poll" and self.dice.random() < 0.01 else None


async def live(world: World, service: Service, seconds: float) -> Summary | None:
    """Run one process. Return None if it was killed, after which it cannot write to its ledger."""
    killer = asyncio.get_running_loop().call_later(seconds, world.kill)
    try:
        return await world.run(service)
    except OSError:
        return None
    finally:
        killer.cancel()


async def test_a_night(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    night = Night(7)
    world = World(tmp_path, TASKS)
    service = Service(
        VirtualClock(), durations=lognormal(45, 0.5), limit=20, period=10.0, failing=0.02, latency=0.3, fault=night
    )
    summary, kills = None, 0
    while summary is None:
        summary = await live(world, service, HOUR * night.dice.uniform(0.9, 1.1))
        kills += summary is None
    assert kills >= 1
    assert asyncio.get_running_loop().time() < 8 * HOUR
    check(world, service, summary)


def check(world: World, service: Service, summary: Summary) -> None:
    counts = summary.counts
    assert max(service.accepted.values()) == 1  # nothing is ever paid twice
    assert service.busiest() <= 20
    assert counts["queued"] == counts["submitting"] == counts["running"] == counts["fetching"] == 0
    assert service.accepted.total() <= counts["done"] + counts["failed"] + counts["uncertain"]
    assert len(world.shelf.files) == counts["done"]  # nothing is ever lost
    assert counts["done"] > 0.95 * TASKS
    with closing(connection.connect(world.settings.db, write=False)) as db:
        recorded = {row[0] for row in db.execute("select remote_id from attempts where remote_id is not null")}
        spent = db.execute("select sum(spent) from money").fetchone()[0]
    assert recorded <= set(service.tasks)
    assert len(set(service.tasks) - recorded) <= counts["uncertain"]
    assert spent == counts["done"] + counts["failed"]
