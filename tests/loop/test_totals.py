"""The sums over all runs: each request is counted once, by its outcome, and so is the time without good answers."""

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.ledger.file import connection
from batchswap.ledger.runs import traffic
from batchswap.ledger.runs.traffic import REQUEST_SECONDS, REQUESTS, WAIT_SECONDS, Total
from tests.loop.service import Service, lognormal
from tests.loop.world import World
from tests.virtual import VirtualClock

QUICK = lognormal(6, 0.35)


def totals(world: World) -> dict[Total, float]:
    with closing(connection.connect(world.settings.db, write=False)) as db:
        return traffic.totals(db)


def by_kind(found: dict[Total, float]) -> Counter[str]:
    """Sum the requests over their outcomes."""
    counts = Counter[str]()
    for total, value in found.items():
        if total.name == REQUESTS:
            counts[total.kind] += round(value)
    return counts


async def test_each_request_is_counted_once_with_its_outcome(tmp_path: Path) -> None:
    world = World(tmp_path, 20)
    service = Service(VirtualClock(), durations=QUICK, latency=0.5)
    await world.run(service)
    found = totals(world)
    assert by_kind(found) == service.requests
    assert {total.outcome for total in found if total.name == REQUESTS} == {"ok"}
    assert found[Total(REQUEST_SECONDS, "submit", "ok")] == pytest.approx(0.5 * 20, abs=0.1)
    assert Total(WAIT_SECONDS) not in found


async def test_the_next_run_adds_to_the_totals(tmp_path: Path) -> None:
    world = World(tmp_path, 10)
    service = Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=4)
    before = totals(world)
    await world.run(service)
    after = totals(world)
    assert by_kind(after) == service.requests
    assert all(after[total] > value for total, value in before.items() if total.kind == "submit")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("429", "rate_limited"),
        ("455", "maintenance"),
        ("500", "error"),
        ("unsent", "not_sent"),
        ("dropped", "no_answer"),
    ],
)
async def test_polls_without_a_good_answer_have_their_outcome(tmp_path: Path, fault: str, outcome: str) -> None:
    world, left = World(tmp_path, 8), [3]

    def fails(_: Service, kind: str) -> str | None:
        if kind == "poll" and left[0]:
            left[0] -= 1
            return fault
        return None

    await world.run(Service(VirtualClock(), durations=QUICK, fault=fails))
    found = totals(world)
    assert found[Total(REQUESTS, "poll", outcome)] == 3.0
    assert found[Total(REQUESTS, "poll", "ok")] >= 8.0
    assert found[Total(WAIT_SECONDS)] > 0.0


async def test_a_submit_without_a_clear_answer_is_one_outcome(tmp_path: Path) -> None:
    world, left = World(tmp_path, 8), [1]

    def fails(_: Service, kind: str) -> str | None:
        if kind == "submit" and left[0]:
            left[0] -= 1
            return "lost"
        return None

    summary = await world.run(Service(VirtualClock(), durations=QUICK, fault=fails))
    assert summary.counts["uncertain"] == 1
    assert totals(world)[Total(REQUESTS, "submit", "no_answer")] == 1.0


async def test_the_time_of_a_maintenance_is_the_time_that_a_run_waits_for_the_api(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    service = Service(
        VirtualClock(), durations=QUICK, fault=lambda s, _: "455" if s.clock.monotonic() < 2400.0 else None
    )
    await world.run(service)
    assert 2300.0 < totals(world)[Total(WAIT_SECONDS)] < 2500.0


async def test_the_time_counts_too_if_the_run_gives_up(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    await world.run(Service(VirtualClock(), durations=QUICK, fault=lambda *_: "500"), patience=600.0)
    assert 590.0 < totals(world)[Total(WAIT_SECONDS)] < 700.0


async def test_a_refused_account_is_an_outcome_and_no_waiting(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    await world.run(Service(VirtualClock(), durations=QUICK, fault=lambda *_: "401"))
    found = totals(world)
    assert {total.outcome for total in found if total.name == REQUESTS} == {"account_refused"}
    assert Total(WAIT_SECONDS) not in found
