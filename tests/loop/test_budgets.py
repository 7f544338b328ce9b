"""Budgets with targets of unknown length: each target has its own price."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.errors import Exit
from batchswap.ledger.file import connection
from batchswap.report import status
from batchswap.report.run_result import last_line
from batchswap.tasks import Model
from tests.loop.service import Service, lognormal
from tests.loop.world import World, rows
from tests.virtual import VirtualClock

QUICK = lognormal(6, 0.35)


class Uneven(Service):
    """Videos with different prices: `price_of` maps their numbers. `times` is the ratio of charge to estimate."""

    def __init__(self, price_of: Callable[[int], float], times: float = 1.0) -> None:
        super().__init__(VirtualClock(), durations=QUICK, limit=20, period=10.0)
        self._price_of, self._times = price_of, times
        self.priced: list[str] = []

    def _price(self, inputs: dict[str, str]) -> float:
        return self._price_of(
            int(
                next(inputs[name] for name in ("video_url", "image_url") if name in inputs)
                .split("/")[-1]
                .removesuffix(".mp4")
            )
        )

    async def estimate(self, body: wire.CreateTask) -> Answer:
        self.priced.append(body.input[Model(body.model).target_field])
        found = wire.Estimate(self._price(body.input), 1e6, True)
        return await self._call("estimate", lambda: (200, found.to_json()))

    def info(self, task_id: str, now: float) -> wire.TaskInfo:
        info, param = super().info(task_id, now), self.tasks[task_id][3]
        charged = None if info.credits is None else self._price(param["input"]) * self._times
        return msgspec.structs.replace(info, credits=charged)


@pytest.mark.parametrize("budgets", [{"budget": 41.5}, {"budget_per_day": 41.5}])
async def test_invariant_7_each_target_is_reserved_at_its_own_price(tmp_path: Path, budgets: dict[str, Any]) -> None:
    world, service = World(tmp_path, 30), Uneven(lambda n: 20.0 if n else 1.0)
    summary = await world.run(service, **budgets)
    assert summary.exit_code == Exit.NO_CREDITS
    assert summary.credits["spent"] == 41.0
    assert summary.counts["queued"] == 27


async def test_a_target_is_priced_once_for_all_its_faces(tmp_path: Path) -> None:
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


async def test_without_a_budget_a_class_is_priced_once(tmp_path: Path) -> None:
    service = Uneven(lambda n: n + 1.0)
    assert (await World(tmp_path, 30).run(service)).counts["done"] == 30
    assert len(service.priced) == 1


async def test_a_charge_above_its_estimate_raises_the_reservations_of_other_targets(tmp_path: Path) -> None:
    """After four credits for an estimate of one, an estimate of ten reserves forty, and one of one reserves four."""

    world, service = World(tmp_path, 4), Uneven(lambda n: [1.0, 10.0, 1.0, 10.0][n], times=4.0)
    summary = await world.run(service, budget=80.0, in_flight=1)
    assert summary.exit_code == Exit.NO_CREDITS
    assert (summary.credits["spent"], summary.counts["done"]) == (48.0, 3)


async def test_charges_of_tasks_from_an_earlier_run_are_learned(tmp_path: Path) -> None:
    world, service = World(tmp_path, 20), Uneven(lambda _: 1.0, times=4.0)
    service.durations = lambda _: 1500.0
    clock = VirtualClock()
    await world.run(service, limit=1, deadline=clock.now() + 1000.0)
    assert world.counts()["running"] == 1
    summary = await world.run(service, budget=10.0, in_flight=1)
    assert (summary.exit_code, summary.spent_now) == (Exit.NO_CREDITS, 8.0)


async def test_a_task_that_is_priced_does_not_wait_until_others_are(tmp_path: Path) -> None:
    """Submits and estimates take turns: neither the first result nor the other preparations have to wait."""
    order: list[str] = []

    def note(_: Service, kind: str) -> None:
        order.append(kind)

    world = World(tmp_path, 40)
    service = Service(VirtualClock(), durations=lognormal(60, 0.35), limit=20, period=10.0, fault=note)
    await world.run(service, limit=1)  # what a task costs is known
    order.clear()
    summary = await world.run(service, budget=1000.0)
    assert summary.counts["done"] == 40
    asked = [kind for kind in order if kind in ("estimate", "submit")]
    assert asked[:20] == ["estimate", "submit"] * 10


class Watched(Uneven):
    """Notes how many tasks were in flight at each submit, and may report no price."""

    def __init__(self, price_of: Callable[[int], float], times: float = 1.0, *, tells: bool = True) -> None:
        super().__init__(price_of, times)
        self._tells = tells
        self.out: list[int] = []

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        now = self.clock.monotonic()
        self.out.append(1 + sum(started + took > now for started, took, *_ in self.tasks.values()))
        return await super().create_task(body, ref)

    def info(self, task_id: str, now: float) -> wire.TaskInfo:
        info = super().info(task_id, now)
        return info if self._tells else msgspec.structs.replace(info, credits=None)


@pytest.mark.parametrize("kind", ["budget", "budget_per_day"])
@pytest.mark.parametrize(
    ("times", "budget", "spent", "exceeded", "at_first"),
    [
        (5.0, 20.0, 20.0, 0.0, 1),  # estimate 2, charged 10
        (5.0, 45.0, 40.0, 0.0, 2),
        (10.0, 80.0, 80.0, 0.0, 4),
        (15.0, 80.0, 120.0, 40.0, 4),  # more than ten times: four exceed, and no fifth one
        (15.0, 20.0, 30.0, 10.0, 1),
        (1.0, 20.0, 20.0, 0.0, 1),
    ],
)
async def test_a_budget_holds_although_the_estimates_are_wrong(
    tmp_path: Path, kind: str, times: float, budget: float, spent: float, exceeded: float, at_first: int
) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 2.0, times)
    budgets: dict[str, Any] = {kind: budget}
    summary = await world.run(service, **budgets)
    assert (summary.exit_code, summary.credits["spent"]) == (Exit.NO_CREDITS, spent)
    assert summary.credits["exceeded"] == exceeded
    assert (f"exceeded by {exceeded:g} credits" in summary.reason) is (exceeded > 0.0)
    assert max(service.out[:at_first]) == at_first
    with closing(connection.connect(world.settings.db, write=False)) as db:
        found = status.gather(db, world.settings.db)
    assert status.to_json(found)["credits"]["exceeded"] == exceeded
    assert status.to_json(found)["batches"][0]["credits"]["exceeded"] == exceeded
    lines = list(status.to_lines(found, world.settings.db, 0.0, None))
    assert any(line.endswith(f"was exceeded by {exceeded:g} credits") for line in lines) is (exceeded > 0.0)


async def test_a_finished_run_reports_that_it_exceeded_the_budget(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Watched(lambda _: 2.0, 15.0)
    summary = await world.run(service, budget=20.0)
    assert (summary.exit_code, summary.credits["exceeded"]) == (Exit.DONE, 10.0)
    assert "done, but the budget was exceeded by 10 credits" in last_line(summary, world.settings, "")


async def test_four_tasks_are_submitted_until_one_actual_price_is_known_and_then_all(tmp_path: Path) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 2.0)
    summary = await world.run(service, budget=1000.0, in_flight=30)
    assert summary.counts["done"] == 40
    assert max(service.out[:4]) == 4
    assert max(service.out) > 8


async def test_classes_of_unknown_prices_share_the_budget(tmp_path: Path) -> None:
    """Stills and videos are both tried, and together never risk more than the budget at ten times the estimates."""

    world = World(tmp_path, 0)
    stills = [
        msgspec.structs.replace(row, model=Model.IMAGE, digest=f"i{row.digest}", key=f"i{row.key}",
                                output=f"b/i{row.key}.png")
        for row in rows(10)
    ]  # fmt: skip
    world.enrol([row for pair in zip(rows(10), stills, strict=True) for row in pair])
    service = Watched(lambda _: 1.0, times=10.0)
    summary = await world.run(service, budget=40.0)
    assert (summary.credits["spent"], summary.credits["exceeded"]) == (40.0, 0.0)
    assert max(service.out) <= 4


async def test_an_estimate_that_is_too_high_does_not_end_the_run_while_tasks_are_in_flight(tmp_path: Path) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 10.0, times=0.2)
    summary = await world.run(service, budget=20.0)
    assert summary.exit_code == Exit.NO_CREDITS
    assert 10.0 < (summary.credits["spent"] or 0.0) <= 20.0


async def test_without_prices_from_the_api_the_estimates_count_and_this_is_reported(tmp_path: Path) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 2.0, tells=False)
    summary = await world.run(service, budget=40.0)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.NO_CREDITS, 20)
    assert max(service.out) > 4
    assert sum("does not report the price of a task" in line for line in world.said) == 1


async def test_a_later_run_knows_the_actual_price(tmp_path: Path) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 2.0, times=5.0)
    await world.run(service, budget=10.0)
    service.out.clear()
    summary = await world.run(service, budget=100.0)
    assert (summary.spent_now, summary.credits["exceeded"]) == (100.0, 0.0)
    assert max(service.out) > 4  # no trial


async def test_invariant_7_tasks_in_flight_reserve_the_learned_price(tmp_path: Path) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 2.0, times=5.0)
    service.durations = lambda _: 10.0 if len(service.tasks) < 1 else 5000.0
    clock = VirtualClock()
    summary = await world.run(service, budget=1000.0, in_flight=4, deadline=clock.now() + 600.0)
    assert (summary.counts["running"], summary.credits["reserved"]) == (4, 40.0)


async def test_uncertain_tasks_do_not_hold_up_the_trial_of_their_class(tmp_path: Path) -> None:
    lost = iter([True, True])
    world, service = World(tmp_path, 10), Watched(lambda _: 2.0)
    service.fault = lambda _, kind: "lost" if kind == "submit" and next(lost, False) else None
    summary = await world.run(service, budget=60.0)
    assert (summary.counts["done"], summary.counts["uncertain"]) == (8, 2)


@pytest.mark.parametrize(("budget", "at_first"), [(20.0, 1), (45.0, 2)])
async def test_ticks_together_try_no_more_tasks_of_unknown_price_than_one_run(
    tmp_path: Path, budget: float, at_first: int
) -> None:
    """Their results come much later than the next ticks, and cost ten times the estimate."""
    world, service = World(tmp_path, 40), Watched(lambda _: 2.0, times=10.0)
    service.durations = lognormal(2 * 3600.0, 0.05)
    for _ in range(30):
        summary = await world.run(service, mode="tick", budget=budget)
        await asyncio.sleep(600.0)
    assert max(service.out) == at_first
    assert summary.credits["exceeded"] == 0.0


async def test_a_lower_budget_of_a_later_tick_does_not_mean_that_the_api_charged_too_much(tmp_path: Path) -> None:
    world, service = World(tmp_path, 40), Watched(lambda _: 1.0)
    for budget in (None, 10.0, 25.0, 5.0):
        summary = await world.run(service, mode="tick", budget=budget, limit=None if budget else 3)
        await asyncio.sleep(600.0)
        assert summary.credits["exceeded"] == 0.0
    assert (summary.credits["spent"] or 0.0) > 5.0
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert status.to_json(status.gather(db, world.settings.db))["credits"]["exceeded"] == 0.0
