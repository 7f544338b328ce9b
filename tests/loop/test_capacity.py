"""An API that accepts fewer tasks at once than --in-flight, and answers further submits with 429."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchswap.errors import Exit
from batchswap.polling.in_flight_limit import LONGEST_HOLD
from batchswap.runner.summary import Summary
from tests.loop.service import Fault, Service, lognormal
from tests.loop.world import World
from tests.virtual import VirtualClock

MINUTE = lognormal(60, 0.35)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def taking(most: Callable[[float], int]) -> Fault:
    """`most` maps the time to the number of tasks that the API accepts at once."""

    def fault(service: Service, kind: str) -> str | None:
        now = service.clock.monotonic()
        running = sum(started + took > now for started, took, *_ in service.tasks.values())
        return "429" if kind == "submit" and running >= most(now) else None

    return fault


async def night(folder: Path, in_flight: int, most: Callable[[float], int]) -> tuple[Summary, World]:
    world = World(folder, 200, rate_limit=20, rate_period=10.0, in_flight=in_flight)
    service = Service(VirtualClock(), durations=MINUTE, limit=20, period=10.0, fault=taking(most))
    return await world.run(service), world


async def test_a_run_that_must_learn_the_bound_is_as_fast_as_one_that_knows_it(tmp_path: Path) -> None:
    (tmp_path / "told").mkdir()
    (tmp_path / "untold").mkdir()
    told, _ = await night(tmp_path / "told", 30, lambda _: 30)
    untold, world = await night(tmp_path / "untold", 100, lambda _: 30)
    assert (untold.exit_code, untold.counts["done"]) == (Exit.DONE, 200)
    assert untold.seconds < 1.05 * told.seconds
    assert told.requests["refused_429"] == 0 < untold.requests["refused_429"] < 40
    assert sum("accepts only 30 tasks at once" in words for words in world.said) == 1
    assert not any("the API is unavailable" in words for words in world.said)


async def test_capacity_that_other_programs_release_is_used_again(tmp_path: Path) -> None:
    """Other programs use nearly all places for five minutes."""
    summary, _ = await night(tmp_path, 100, lambda now: 5 if now < 300.0 else 60)
    assert summary.counts["done"] == 200
    assert summary.seconds < 300.0 + LONGEST_HOLD + 1.5 * 200 / 60 * 64
    assert summary.requests["refused_429"] < 60
