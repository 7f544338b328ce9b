"""Results are examined between their download and their final name, and nothing waits for it but the end of the run."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.downloads import Verified
from batchswap.errors import Exit
from batchswap.events import LogEvent
from batchswap.ledger import deliveries
from batchswap.ledger.deliveries import Delivered
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.runner.collect import download
from batchswap.states import Quality, Review
from batchswap.tasks import Task
from tests.loop.service import Service
from tests.loop.world import World
from tests.virtual import VirtualClock

HOUR = 3600.0


class Eye:
    """Takes `seconds` for each result and finds `quality` in the tasks named `odd`, and a swap in the others."""

    def __init__(self, quality: Quality = Quality.SWAPPED, odd: tuple[str, ...] = (), seconds: float = 1.0) -> None:
        self._quality, self._odd, self._seconds = quality, odd, seconds
        self.seen: list[str] = []

    async def examine(self, db: sqlite3.Connection, item: Task, result: Path, sha256: str) -> Delivered:
        self.seen.append(item.key)
        await asyncio.sleep(self._seconds)
        quality = self._quality if item.key in self._odd else Quality.SWAPPED
        return Delivered(sha256, quality, 0.5 if quality is Quality.PARTLY else 1.0, 0.9)


def examined(folder: Path, count: int, eye: Eye, **settings: object) -> World:
    world = World(folder, count, **settings)
    world.shelf.examiner = eye
    return world


def service() -> Service:
    return Service(VirtualClock(), durations=lambda _: 5.0)


async def test_every_result_has_a_finding_before_it_is_done(tmp_path: Path) -> None:
    eye = Eye()
    world = examined(tmp_path, 3, eye)
    summary = await world.run(service())
    assert (summary.exit_code, summary.counts["done"], sorted(eye.seen)) == (Exit.DONE, 3, ["t0", "t1", "t2"])
    assert (summary.quality["swapped"], summary.quality["unknown"], summary.needs_you) == (3, 0, 0)


@pytest.mark.parametrize("quality", [Quality.UNCHANGED, Quality.PARTLY, Quality.NO_FACE])
async def test_a_result_without_a_swap_needs_the_user_and_is_not_paid_again(tmp_path: Path, quality: Quality) -> None:
    world = examined(tmp_path, 3, Eye(quality, ("t1",)))
    vendor = service()
    summary = await world.run(vendor)
    assert (summary.exit_code, summary.counts["done"], summary.needs_you) == (Exit.DONE, 3, 1)
    assert summary.quality[quality] == 1
    assert [(event, fields["task"]) for event, fields in world.events if event is LogEvent.RESULT_DOUBTFUL] == [
        (LogEvent.RESULT_DOUBTFUL, "b/t1")
    ]
    again = await world.run(vendor)
    assert (again.needs_you, vendor.accepted.total()) == (1, 3)


async def test_with_require_swap_it_ends_with_exit_3_until_it_is_reviewed(tmp_path: Path) -> None:
    world = examined(tmp_path, 2, Eye(Quality.UNCHANGED, ("t1",)), require_swap=True)
    vendor = service()
    summary = await world.run(vendor)
    assert (summary.exit_code, summary.reason) == (Exit.FAILED, "1 without a swap in all frames (--require-swap)")
    with closing(connection.connect(world.settings.db, write=True)) as db:
        deliveries.review(db, world_stamp(), 2, Review.ACCEPTED)
    assert (await world.run(vendor)).exit_code == Exit.DONE


def world_stamp() -> Stamp:
    return Stamp(0.0, None)


async def test_slow_examinations_hold_up_neither_submits_nor_polls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More results than may wait for their download are examined, and the submits go on at the full rate."""
    monkeypatch.setattr(download, "BACKLOG", 10)
    world, vendor = examined(tmp_path, 100, Eye(seconds=HOUR)), service()
    begun = VirtualClock().monotonic()
    summary = await world.run(vendor)
    assert summary.counts["done"] == 100
    assert vendor.last_end - begun < 200.0
    assert VirtualClock().monotonic() - begun > HOUR, "the end of the run waits for the last examination"
    assert not any(event is LogEvent.DOWNLOADS_BEHIND for event, _ in world.events)


async def test_an_examination_that_was_killed_is_repeated_and_one_that_was_recorded_is_not(tmp_path: Path) -> None:
    world, vendor = examined(tmp_path, 2, Eye(seconds=HOUR)), service()
    doomed = asyncio.ensure_future(world.run(vendor))
    await asyncio.sleep(HOUR / 2)
    world.kill()
    doomed.cancel()
    await asyncio.gather(doomed, return_exceptions=True)
    assert world.counts()["fetching"] == 2
    with closing(connection.connect(world.settings.db, write=True)) as db:
        sha256 = db.execute("select sha256 from tasks where key = 't0'").fetchone()[0]
        deliveries.record(db, world_stamp(), 1, Delivered(sha256, Quality.SWAPPED))
    world.shelf.examiner = eye = Eye()
    summary = await world.run(vendor)
    assert (summary.counts["done"], vendor.accepted.total()) == (2, 2)
    assert eye.seen == ["t1"]


async def test_a_file_that_is_gone_is_not_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = examined(tmp_path, 1, eye := Eye())

    def nothing(output: str, part: Verified) -> Path | None:
        return None

    monkeypatch.setattr(world.shelf, "file", nothing)
    assert (await world.run(service())).quality["unknown"] == 1
    assert eye.seen == []
