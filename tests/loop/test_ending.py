"""The end of a run that is stopped: what still counts, and that it does not wait for unneeded calls."""

import asyncio
import os
import re
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchswap.client import Answer
from batchswap.downloads import Verified
from batchswap.errors import Exit
from batchswap.ledger.file import connection
from batchswap.runner.collect import storage_trouble
from batchswap.settings import Settings
from batchswap.tasks import Model, Row, content_digest
from tests.loop.service import Service, Shelf
from tests.loop.world import World, rows
from tests.virtual import START, VirtualClock

HOUR = 3600.0
to_thread = asyncio.to_thread  # the tests of this folder replace it


class SlowShelf(Shelf):
    """The first download ends at a given time of the run's clock."""

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


async def test_a_run_that_finishes_within_the_grace_was_not_stopped_by_the_deadline(tmp_path: Path) -> None:
    world, service = slow_world(tmp_path, HOUR + 5.0), Service(VirtualClock(), durations=lambda _: 5.0)
    summary = await world.run(service, deadline=START + HOUR)
    assert VirtualClock().monotonic() > HOUR, "the deadline came first"
    assert summary.counts["done"] == 2
    assert (summary.exit_code, summary.reason) == (Exit.DONE, "all done")


async def test_rows_outside_of_the_selection_are_not_left_by_the_deadline(tmp_path: Path) -> None:
    world = slow_world(tmp_path, HOUR + 5.0, limit=1)
    summary = await world.run(Service(VirtualClock(), durations=lambda _: 5.0), deadline=START + HOUR)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.DONE, 1)


async def test_a_deadline_that_is_too_near_reports_how_long_a_task_may_take(tmp_path: Path) -> None:
    """Otherwise, the user would not know why the run ends at once."""

    summary = await World(tmp_path, 5).run(Service(VirtualClock(), durations=lambda _: 5.0), deadline=START + 20.0)
    assert (summary.exit_code, summary.requests["submit"]) == (Exit.DEADLINE, 0)
    assert re.fullmatch(r"the deadline is near, and a task may take [1-9]\d* s: nothing more .*", summary.reason)


async def test_a_result_that_the_grace_does_not_save_is_left_by_the_deadline(tmp_path: Path) -> None:
    world, service = slow_world(tmp_path, HOUR + 15.0), Service(VirtualClock(), durations=lambda _: 5.0)
    summary = await world.run(service, deadline=START + HOUR)
    assert (summary.exit_code, summary.counts["fetching"]) == (Exit.DEADLINE, 1)
    assert (await world.run(service)).exit_code == Exit.DONE


async def test_the_end_does_not_wait_for_a_second_balance_call(tmp_path: Path) -> None:
    """One task is running, the next submit is unclear, and no balance call succeeds; then a poll ends the run."""
    refused_at: list[float] = []

    def fault(service: Service, kind: str) -> str | None:
        if kind == "poll" and service.clock.monotonic() >= 600.0:
            refused_at.append(service.clock.monotonic())
            return "401"
        return "500" if kind == "balance" or (kind == "submit" and service.accepted) else None

    service = Service(VirtualClock(), durations=lambda _: HOUR, fault=fault)
    summary = await World(tmp_path, 5).run(service)
    assert (summary.exit_code, summary.counts["uncertain"]) == (Exit.REFUSED, 1)
    assert service.requests["balance"] > 5, "by now it is waited for nearly a minute between two looks"
    assert VirtualClock().monotonic() < refused_at[0] + 1.0


class Hanging(Service):
    """The balance call hangs once all tasks are done."""

    async def balance(self) -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(HOUR)
        return await super().balance()


async def test_a_signal_during_the_last_balance_call_does_not_lose_the_summary(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    try:
        summary = await world.run(Hanging(VirtualClock(), durations=lambda _: 5.0))
    except asyncio.CancelledError:  # what the loop's own handler makes of SIGINT
        pytest.fail("the run did not handle the signal")
    assert (summary.exit_code, summary.counts["done"], summary.credits["spent"]) == (Exit.INTERRUPTED, 2, 2.0)
    assert VirtualClock().monotonic() < 60.0
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select exit_code from runs").fetchone() == (Exit.INTERRUPTED,)


async def test_the_end_does_not_wait_for_a_second_download_and_the_next_run_resumes_it(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 5.0)
    world.shelf.unreachable.add("https://media.example/t0.mp4")
    summary = await world.run(service, deadline=START + 120.0, retries=20)
    assert VirtualClock().monotonic() < 121.0
    assert (summary.exit_code, summary.counts["fetching"]) == (Exit.DEADLINE, 1)
    world.shelf.unreachable.clear()
    assert (await world.run(service)).exit_code == Exit.DONE
    assert service.requests["submit"] == 1


async def test_a_run_does_not_wait_for_faces_that_it_will_not_submit(tmp_path: Path) -> None:
    """The running task ends after 64 s; then there are no credits for the next, while a third is being detected."""

    world = World(tmp_path, 2)
    video, faces = "https://cdn.example/duo.mp4", ((0, "https://cdn.example/ben.jpg"),)
    digest = content_digest(Model.VIDEO_MULTI, video, "", faces)
    world.enrol([*rows(2), Row("duo", digest, Model.VIDEO_MULTI, video, "", "b/duo.mp4", 9, faces)])
    service = Service(VirtualClock(), durations=lambda _: 64.0, balance=1.0, detecting=1000.0, callback=world.deliver)
    summary = await world.run(service, callbacks=True, in_flight=1, rate_limit=None)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.NO_CREDITS, 2)
    assert VirtualClock().monotonic() < 65.0


async def test_a_run_ends_after_the_trial_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial works in a thread, which would use a ledger and a folder that the caller may remove."""
    ended: list[bool] = []

    def samples(_: Settings) -> list[str]:
        time.sleep(1.0)
        ended.append(True)
        return []

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    monkeypatch.setattr(storage_trouble, "_samples", samples)
    service = Service(VirtualClock(), durations=lambda _: 5.0, fault=lambda *_: "401")
    summary = await World(tmp_path, 2).run(service, budget=10.0)
    assert summary.exit_code == Exit.REFUSED
    assert ended == [True]
