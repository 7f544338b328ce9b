"""Budgets where nobody knows beforehand how long the targets are: each has a price of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.errors import Exit
from tests.loop.service import Service, lognormal
from tests.loop.world import World, rows
from tests.virtual import VirtualClock, run

QUICK = lognormal(6, 0.35)


class Uneven(Service):
    """Videos that cost differently: `price_of` is told their number. `times`: what is charged, over the estimate."""

    def __init__(self, price_of: Callable[[int], float], times: float = 1.0) -> None:
        super().__init__(VirtualClock(), durations=QUICK, limit=20, period=10.0)
        self._price_of, self._times = price_of, times
        self.priced: list[str] = []

    def _price(self, inputs: dict[str, str]) -> float:
        return self._price_of(int(inputs["video_url"].split("/")[-1].removesuffix(".mp4")))

    async def estimate(self, body: wire.CreateTask) -> Answer:
        self.priced.append(body.input["video_url"])
        found = wire.Estimate(self._price(body.input), 1e6, True)
        return await self._call("estimate", lambda: (200, found.to_json()))

    def info(self, task_id: str, now: float) -> wire.TaskInfo:
        info, param = super().info(task_id, now), self.tasks[task_id][3]
        charged = None if info.credits is None else self._price(param["input"]) * self._times
        return msgspec.structs.replace(info, credits=charged)


@pytest.mark.parametrize("budgets", [{"budget": 41.5}, {"budget_per_day": 41.5}])
def test_invariant_7_each_target_is_reserved_at_its_own_price(tmp_path: Path, budgets: dict[str, Any]) -> None:
    async def script() -> None:
        world, service = World(tmp_path, 30), Uneven(lambda n: 20.0 if n else 1.0)
        summary = await world.run(service, **budgets)
        assert summary.exit_code == Exit.NO_CREDITS
        assert summary.credits["spent"] == 41.0
        assert summary.counts["queued"] == 27

    run(script())


def test_a_target_is_priced_once_for_all_its_faces(tmp_path: Path) -> None:
    async def script() -> None:
        found = [
            msgspec.structs.replace(row, digest=f"{row.digest}{n}", key=f"{row.key}-{n}", output=f"b/{row.key}-{n}.mp4",
                                    face=f"https://cdn.example/{n}.jpg")
            for row in rows(3) for n in range(5)
        ]  # fmt: skip
        world, service = World(tmp_path, 0), Uneven(lambda n: n + 1.0)
        world.enrol(found)
        summary = await world.run(service, budget=100.0)
        assert (summary.counts["done"], summary.credits["spent"]) == (15, 30.0)
        assert len(service.priced) == len(set(service.priced)) == 3

    run(script())


def test_without_a_budget_a_class_is_priced_once(tmp_path: Path) -> None:
    async def script() -> None:
        service = Uneven(lambda n: n + 1.0)
        assert (await World(tmp_path, 30).run(service)).counts["done"] == 30
        assert len(service.priced) == 1

    run(script())


def test_what_was_charged_over_an_estimate_is_expected_of_the_other_targets(tmp_path: Path) -> None:
    """Four credits where one was estimated: where ten are, forty are reserved, and where one is, four and not forty."""

    async def script() -> None:
        world, service = World(tmp_path, 4), Uneven(lambda n: [1.0, 10.0, 1.0, 10.0][n], times=4.0)
        summary = await world.run(service, budget=80.0, in_flight=1)
        assert summary.exit_code == Exit.NO_CREDITS
        assert (summary.credits["spent"], summary.counts["done"]) == (48.0, 3)

    run(script())


def test_what_an_earlier_run_submitted_teaches_this_one(tmp_path: Path) -> None:
    async def script() -> None:
        world, service = World(tmp_path, 20), Uneven(lambda _: 1.0, times=4.0)
        service.durations = lambda _: 1500.0
        clock = VirtualClock()
        await world.run(service, limit=1, deadline=clock.now() + 1000.0)
        assert world.counts()["running"] == 1
        summary = await world.run(service, budget=10.0, in_flight=1)
        assert (summary.exit_code, summary.spent_now) == (Exit.NO_CREDITS, 8.0)

    run(script())


def test_a_task_that_is_priced_does_not_wait_until_others_are(tmp_path: Path) -> None:
    """Submits and estimates take turns: the first result need not wait for all that are made ready, nor they for it."""
    order: list[str] = []

    def note(_: Service, kind: str) -> None:
        order.append(kind)

    async def script() -> None:
        world = World(tmp_path, 40)
        service = Service(VirtualClock(), durations=lognormal(60, 0.35), limit=20, period=10.0, fault=note)
        summary = await world.run(service, budget=1000.0)
        assert summary.counts["done"] == 40

    run(script())
    asked = [kind for kind in order if kind in ("estimate", "submit")]
    assert asked[:20] == ["estimate", "submit"] * 10
