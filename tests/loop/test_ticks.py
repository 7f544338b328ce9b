"""Ticks: runs that leave while tasks are in progress, and together do what one long run does."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.downloads import Trial
from batchswap.errors import DownloadError, Exit
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.file import connection
from batchswap.ledger.runs import ticks
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk
from batchswap.runner.summary import Summary
from batchswap.settings import Mode
from tests.loop.service import Service, lognormal
from tests.loop.world import World, rows
from tests.virtual import START, VirtualClock

MINUTES_10 = 600.0
QUICK, SLOW = lognormal(6, 0.35), lognormal(MINUTES_10, 0.5)


def busy(durations: Callable[[Any], float] = SLOW, **more: Any) -> Service:
    return Service(VirtualClock(), durations=durations, limit=20, period=10.0, latency=0.2, **more)


async def tick_on(
    world: World, service: Service, every: float = MINUTES_10, most: int = 100, **changes: Any
) -> list[Summary]:
    """Run ticks at fixed times until nothing is left, or `most` of them."""
    clock, found = service.clock, list[Summary]()
    while len(found) < most:
        found.append(await world.run(service, mode="tick", **changes))
        if found[-1].is_finished:
            return found
        await asyncio.sleep(max(1.0, len(found) * every - clock.monotonic()))
    return found


def world_of(folder: Path, count: int, **settings: object) -> World:
    return World(folder, count, **{"rate_limit": 20, "in_flight": 100, **settings})


async def test_a_night_of_ticks_takes_few_requests_and_ends_like_one_run(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 300), busy()
    summaries = await tick_on(world, service)
    assert [each.exit_code for each in summaries[:-1]] == [Exit.DEADLINE] * (len(summaries) - 1)
    assert summaries[-1].exit_code == Exit.DONE
    assert summaries[-1].counts["done"] == len(world.shelf.files) == 300
    assert max(service.accepted.values()) == 1
    assert sum(service.requests.values()) <= 2.3 * 300
    assert service.refused == 0


async def test_submit_only_polls_nothing_and_leaves(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 30, in_flight=20), busy(QUICK)
    first = await world.run(service, mode="submit")
    assert (first.exit_code, first.counts["running"], first.counts["queued"]) == (Exit.DEADLINE, 20, 10)
    assert first.reason == "work is left for the next tick"
    await asyncio.sleep(3600.0)
    second = await world.run(service, mode="submit")
    assert (second.exit_code, second.counts["running"], second.requests["submit"]) == (Exit.DEADLINE, 20, 0)
    assert service.requests["poll"] == 0


async def test_submit_only_does_not_download(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), busy(QUICK)
    world.shelf.unreachable.add("https://media.example/t0.mp4")
    assert (await world.run(service, patience=5.0)).counts["fetching"] == 1
    world.shelf.unreachable.clear()
    assert (await world.run(service, mode="submit")).exit_code == Exit.DEADLINE
    assert not world.shelf.files


async def test_collect_only_never_submits(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 30, in_flight=20), busy(QUICK)
    await world.run(service, mode="submit")
    summary = await world.run(service, mode="collect", budget=0.0)
    assert (summary.exit_code, summary.counts["done"], summary.counts["queued"]) == (Exit.DEADLINE, 20, 10)
    assert summary.requests["submit"] == summary.requests["estimate"] == 0
    assert "nothing is submitted (--collect-only)" in summary.reason
    assert (await world.run(service)).exit_code == Exit.DONE
    assert (await world.run(service, mode="collect")).exit_code == Exit.DONE


async def test_a_tick_collects_before_it_submits(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 40, in_flight=20), busy(QUICK)
    await world.run(service, mode="tick")
    await asyncio.sleep(MINUTES_10)
    order = list[str]()
    service.fault = lambda _, kind: order.append(kind)
    await world.run(service, mode="tick")
    assert order.index("submit") > order.index("poll")
    assert "poll" not in order[order.index("submit") :]


async def test_a_tick_without_likely_results_sends_nothing(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 100), busy()
    await tick_on(world, service)
    world.enrol(rows(20, first=0) + rows(20, first=100))
    await world.run(service, mode="tick")
    before = sum(service.requests.values())
    again = await world.run(service, mode="tick")
    assert again.exit_code == Exit.DEADLINE
    assert sum(service.requests.values()) == before
    assert again.next_tick_at is not None
    assert service.clock.now() < again.next_tick_at < service.clock.now() + 2 * MINUTES_10


async def test_invariant_7_ticks_share_one_budget(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 60, in_flight=10), busy()
    summaries = await tick_on(world, service, most=12, budget=25.0)
    assert summaries[-1].exit_code == Exit.NO_CREDITS
    assert summaries[-1].counts == {**summaries[-1].counts, "done": 25, "queued": 35}
    assert sum(service.accepted.values()) == 25
    before = service.requests["estimate"]
    again = await world.run(service, mode="tick", budget=25.0)
    assert (again.exit_code, service.requests["estimate"]) == (Exit.NO_CREDITS, before), "nothing is priced in vain"
    more = await tick_on(world, service, budget=60.0)
    assert more[-1].exit_code == Exit.DONE
    world.enrol(rows(70))
    assert (await tick_on(world, service, budget=10.0))[-1].exit_code == Exit.DONE, "new rows have a new budget"


async def test_ticks_of_other_batches_have_their_own_budget(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 10), busy()
    await world.run(service, mode="tick", budget=10.0)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert ticks.unfinished_series(db, ["b"]) == 1
        assert ticks.unfinished_series(db, ["c"]) is None


@pytest.mark.parametrize("mode", ["run", "collect"])
async def test_a_batch_that_another_run_completes_has_no_budget_left(tmp_path: Path, mode: Mode) -> None:
    world, service = world_of(tmp_path, 1), busy(QUICK)
    await world.run(service, mode="submit", budget=1.0)
    assert (await world.run(service, mode=mode)).counts["done"] == 1
    world.enrol(rows(2))
    assert (await tick_on(world, service, budget=1.0))[-1].exit_code == Exit.DONE, "new rows have a new budget"


async def test_the_work_of_other_batches_does_not_keep_a_budget(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 2), busy(QUICK)
    await tick_on(world, service, budget=2.0)
    other = [msgspec.structs.replace(each, key=f"o{each.key}", output=f"c/{each.key}.mp4") for each in rows(3, 50)]
    with closing(connection.connect(world.settings.db, write=True)) as db:
        enrol(db, Stamp(START, None), [Chunk("c", "/", "c.csv", other)], {})
    await world.run(service, mode="submit", batches=("c",))
    await world.run(service, mode="tick", budget=2.0)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert ticks.unfinished_series(db, ["b"]) is None
        assert ticks.unfinished_series(db, ["c"]) is not None


async def test_refusals_in_a_row_are_counted_over_ticks(tmp_path: Path) -> None:
    """One long run stops after 20; ticks must not burn 20 rows each."""
    world, service = world_of(tmp_path, 200), busy(fault=lambda _, kind: "422" if kind == "submit" else None)
    first = await world.run(service, mode="tick", workers=1)
    assert (first.exit_code, first.counts["failed"]) == (Exit.FAILED, 20)
    for _ in range(3):
        last = await world.run(service, mode="tick", workers=1)
        assert "submits in a row refused as 422" in last.reason
    assert last.counts["failed"] == 23
    service.fault = None
    assert (await world.run(service, mode="tick", workers=1)).counts["running"] == 100


async def test_a_task_that_the_api_forgot_is_lost_after_several_ticks(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), busy(QUICK)
    await world.run(service, mode="tick")
    service.tasks.clear()
    for _ in range(20):
        await asyncio.sleep(MINUTES_10)
        summary = await world.run(service, mode="tick")
        if summary.is_finished:
            break
    assert (summary.exit_code, summary.counts["failed"]) == (Exit.FAILED, 1)
    assert 6 <= service.requests["poll"] <= 8


async def test_a_run_between_ticks_that_finds_a_task_ends_its_polls_without_an_answer(tmp_path: Path) -> None:
    """Otherwise, a single 404 hours later would end a task that is still running, and that is paid for."""
    world, service = world_of(tmp_path, 1), busy(lognormal(5 * 3600.0, 0.1))
    await world.run(service, mode="tick")
    service.fault = lambda _, kind: "404" if kind == "poll" else None
    for _ in range(60):
        await asyncio.sleep(MINUTES_10)
        await world.run(service, mode="tick")
        if service.requests["poll"] == 5:
            break
    assert service.requests["poll"] == 5
    service.fault = None
    await world.run(service, ends_at=service.clock.monotonic() + 3600.0)
    assert service.requests["poll"] > 5
    service.fault = lambda _, kind: "404" if kind == "poll" else None
    before = service.requests["poll"]
    while service.requests["poll"] == before:
        await asyncio.sleep(MINUTES_10)
        assert (await world.run(service, mode="tick")).counts["failed"] == 0


async def test_a_task_that_hangs_times_out_over_ticks(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), busy(lognormal(1e9, 0.1))
    summaries = await tick_on(world, service, task_timeout=3 * 3600.0)
    assert summaries[-1].counts["failed"] == 1
    assert 3 * 3600.0 < service.clock.monotonic() < 8 * 3600.0


@pytest.mark.parametrize("fault", ["unsent", "455", "500", "429"])
async def test_a_tick_leaves_soon_when_the_api_is_away(tmp_path: Path, fault: str) -> None:
    world, service = world_of(tmp_path, 10), busy(fault=lambda _, __: fault)
    summary = await world.run(service, mode="tick", patience=30.0)
    assert summary.exit_code in (Exit.DEADLINE, Exit.UNAVAILABLE)
    assert service.clock.monotonic() < 90.0
    service.fault = None
    assert (await tick_on(world, service))[-1].counts["done"] + summary.counts["uncertain"] == 10


async def test_ticks_leave_at_once_while_the_api_wants_a_long_pause(tmp_path: Path) -> None:
    class Pausing(Service):
        async def task_info(self, task_id: str) -> Answer:
            answer = await super().task_info(task_id)
            return msgspec.structs.replace(answer, status=429, code=429, data=None, retry_after=600.0)

    service = Pausing(VirtualClock(), durations=QUICK, limit=20, period=10.0)
    world = world_of(tmp_path, 1)
    await world.run(service, mode="tick")
    await asyncio.sleep(MINUTES_10)
    for _ in range(3):
        begun = service.clock.monotonic()
        assert (await world.run(service, mode="tick", patience=3600.0)).exit_code == Exit.DEADLINE
        assert service.clock.monotonic() < begun + 10.0
    assert service.requests["poll"] == 1


async def test_a_task_that_was_found_running_waits_for_a_later_tick(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 20), busy()
    await tick_on(world, service)  # now durations are known
    world.enrol(rows(21))
    service.durations = lognormal(5 * 3600.0, 0.1)
    before = service.requests["poll"]
    await world.run(service, mode="tick")
    while service.requests["poll"] == before:
        await asyncio.sleep(MINUTES_10)
        await world.run(service, mode="tick")
    for _ in range(3):
        await asyncio.sleep(10.0)
        await world.run(service, mode="tick")
    assert service.requests["poll"] == before + 1


async def test_a_tick_does_not_leave_before_the_output_folder_is_tested(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), busy()
    try_out = world.shelf.try_out

    async def try_slowly(outputs: Iterable[str]) -> Trial:
        await asyncio.sleep(5.0)
        return await try_out(outputs)

    world.shelf.try_out = try_slowly  # type: ignore[method-assign]
    assert (await world.run(service, mode="tick")).counts["running"] == 1


async def test_a_task_of_an_unknown_age_is_polled_by_each_tick(tmp_path: Path) -> None:
    """The clock was set back after the submit, so that nothing says when its poll is due."""
    world, service = world_of(tmp_path, 1), busy(SLOW)
    await world.run(service, mode="tick")
    with closing(sqlite3.connect(world.settings.db)) as db, db:
        db.execute("update attempts set submitted_at = submitted_at + 86400, accepted_at = accepted_at + 86400")
    for polls in (1, 2):
        await asyncio.sleep(60.0)
        await world.run(service, mode="tick")
        assert service.requests["poll"] == polls


async def test_an_uncertain_task_stays_uncertain_over_ticks(tmp_path: Path) -> None:
    faults = iter(["lost"])
    service = busy(fault=lambda _, kind: next(faults, None) if kind == "submit" else None)
    world = world_of(tmp_path, 5)
    summaries = await tick_on(world, service)
    assert summaries[-1].exit_code == Exit.UNCERTAIN
    assert (summaries[-1].counts["uncertain"], summaries[-1].counts["done"]) == (1, 4)
    assert max(service.accepted.values()) == 1


async def test_a_late_result_is_left_to_the_next_tick(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), busy(QUICK)
    await world.run(service, mode="tick")
    await asyncio.sleep(60.0)

    async def missing(url: str, output: str, **_: Any) -> Any:
        raise DownloadError("gone", "the media host answers 404", stale=True)

    found = world.shelf.fetch
    world.shelf.fetch = missing  # type: ignore[method-assign]
    assert (await world.run(service, mode="tick")).counts["fetching"] == 1
    world.shelf.fetch = found  # type: ignore[method-assign]
    assert (await world.run(service, mode="tick")).exit_code == Exit.DONE


async def test_a_result_that_never_comes_fails_after_minutes(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), busy(QUICK)

    async def missing(url: str, output: str, **_: Any) -> Any:
        raise DownloadError("truncated", "the answer ended too early")

    world.shelf.fetch = missing  # type: ignore[method-assign]
    summaries = await tick_on(world, service, every=120.0)
    assert (summaries[-1].exit_code, summaries[-1].counts["failed"]) == (Exit.FAILED, 1)
    assert service.clock.monotonic() > 300.0


async def test_urls_that_have_waited_too_long_are_replaced_without_a_download(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 2, downloads=1), busy(QUICK)
    away = {"https://media.example/t0.mp4", "https://media.example/t1.mp4"}
    world.shelf.unreachable |= away
    await world.run(service, patience=30.0)
    await asyncio.sleep(7200.0)
    world.shelf.unreachable.clear()
    world.shelf.stale |= {"https://media.example/t0.mp4"}
    assert (await world.run(service, mode="tick", limit=None)).exit_code == Exit.DONE  # learns that 2 h is too long
    world.enrol(rows(4))
    world.shelf.unreachable |= {f"https://media.example/t{i}.mp4" for i in range(2, 4)}
    await world.run(service, patience=30.0)
    await asyncio.sleep(3 * 7200.0)
    world.shelf.unreachable.clear()
    asked = list[str]()
    fetch = world.shelf.fetch

    async def fetch_and_note(url: str, output: str, **more: Any) -> Any:
        asked.append(url)
        return await fetch(url, output, **more)

    world.shelf.fetch = fetch_and_note  # type: ignore[method-assign]
    polls = service.requests["poll"]
    assert (await world.run(service, mode="tick")).exit_code == Exit.DONE
    assert service.requests["poll"] - polls == 2
    assert len(asked) == 2
    assert any("have waited longer for this run than their URLs live" in words for words in world.said)


async def test_a_tick_near_the_deadline_submits_nothing(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 20, in_flight=10), busy()
    await tick_on(world, service, most=6)
    world.enrol(rows(40))
    submits = service.requests["submit"]
    near = await world.run(service, mode="tick", deadline=service.clock.now() + 60.0)
    assert near.exit_code == Exit.DEADLINE
    assert service.requests["submit"] == submits
    short = await world.run(service, mode="tick", ends_at=service.clock.monotonic() + 60.0)
    assert short.requests["submit"] > 0, "--max-duration of a tick does not wait for tasks"


async def test_a_killed_tick_keeps_its_series(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 20, in_flight=10), busy()
    life = asyncio.ensure_future(world.run(service, mode="tick", budget=15.0))
    await asyncio.sleep(2.0)
    world.kill()
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    summaries = await tick_on(world, service, most=20, budget=15.0)
    assert sum(service.accepted.values()) == 15
    assert summaries[-1].counts["queued"] == 5


async def test_the_api_reports_no_durations(tmp_path: Path) -> None:
    class Silent(Service):
        def info(self, task_id: str, now: float) -> wire.TaskInfo:
            return msgspec.structs.replace(super().info(task_id, now), create_at=None, complete_at=None)

    world = world_of(tmp_path, 300)
    service = Silent(VirtualClock(), durations=SLOW, limit=20, period=10.0, latency=0.2)
    summaries = await tick_on(world, service)
    assert summaries[-1].counts["done"] == 300
    assert sum(service.requests.values()) <= 2.6 * 300


async def test_a_tick_submits_at_a_low_rate_too(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 6, rate_limit=2, rate_period=60.0), busy()
    assert (await world.run(service, mode="tick")).counts["running"] == 6
