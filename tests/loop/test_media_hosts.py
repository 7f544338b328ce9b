"""Failing media hosts in whole runs: paid results are downloaded in the end, and little is paid meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.downloads import Verified
from batchswap.errors import DownloadError, Exit
from batchswap.ledger.file import connection
from batchswap.runner.background import RunView
from batchswap.runner.collect.download import likely_first
from tests.loop.service import Service, Shelf
from tests.loop.world import World
from tests.virtual import VirtualClock

Fault = Callable[[str, float], DownloadError | None]


class Troubled(Shelf):
    """`fault` returns the error of a URL at a time."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault
        self.asked: Counter[str] = Counter()

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        self.asked[url] += 1
        await asyncio.sleep(0.1)
        if (error := self.fault(url, asyncio.get_running_loop().time())) is not None:
            raise error
        return Verified(url, 1, "video/mp4")


def unavailable(retry_after: str = "") -> DownloadError:
    return DownloadError("unavailable", "the media host answers 503", retry_after=retry_after)


def dark(until: float, retry_after: str = "") -> Fault:
    return lambda _, now: unavailable(retry_after) if now < until else None


@pytest.mark.parametrize("in_flight", [1, 3, 10])
@pytest.mark.parametrize("retry_after", ["", "60", "31536000"])
async def test_an_outage_is_waited_for_and_submits_pause(tmp_path: Path, in_flight: int, retry_after: str) -> None:
    world, service = World(tmp_path, 60), Service(VirtualClock(), durations=lambda _: 5.0)
    shelf = world.shelf = Troubled(dark(1200.0, retry_after))
    shown: list[tuple[float, int, str]] = []

    async def watch(look: Callable[[], RunView]) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            shown.append((now, service.requests["submit"], look().waiting))
            await asyncio.sleep(10.0)

    summary = await world.run(service, watch=watch, in_flight=in_flight, rate_limit=4, rate_period=2.0)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 60)
    assert all(submits <= 2 * in_flight + 2 for now, submits, _ in shown if now < 1200.0), (
        "the rest is not paid meanwhile"
    )
    assert all("media.example delivers no results" in words for now, _, words in shown if 60.0 < now < 1200.0)
    assert not shown[-1][2]
    about = [words for words in world.said if "media host" in words]
    assert len(about) == 2
    assert about[1] == "the media host media.example answers again"
    assert sum(shelf.asked.values()) < 60 + 120


async def test_a_host_that_accepts_and_never_answers_is_left_when_patience_ends(tmp_path: Path) -> None:
    """The first look takes all of it; it is not followed by others that take as long."""
    world, service = World(tmp_path, 2), Service(VirtualClock(), durations=lambda _: 5.0)

    class Silent(Troubled):
        async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
            self.asked[url] += 1
            await asyncio.sleep(60.0)
            raise DownloadError("timeout", "next to nothing for 60 s")

    shelf = world.shelf = Silent(dark(1e9))
    summary = await world.run(service, patience=60.0)
    assert summary.exit_code == Exit.UNAVAILABLE
    assert set(shelf.asked.values()) == {1}
    assert summary.seconds < 80.0


async def test_an_outage_beyond_patience_leaves_the_results_to_the_next_run(tmp_path: Path) -> None:
    world, service = World(tmp_path, 30), Service(VirtualClock(), durations=lambda _: 5.0)
    world.shelf = Troubled(dark(1e9))
    summary = await world.run(service, patience=600.0, in_flight=5)
    submits = service.requests["submit"]
    assert summary.exit_code == Exit.UNAVAILABLE
    assert "the media host media.example stayed unavailable" in summary.reason
    assert (summary.counts["fetching"], summary.counts["failed"]) == (submits, 0)
    assert submits <= 12
    assert 600.0 <= asyncio.get_running_loop().time() < 700.0
    world.shelf.fault = lambda *_: None
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["done"], service.requests["submit"]) == (Exit.DONE, 30, 30)


async def test_one_bad_result_keeps_nothing_waiting(tmp_path: Path) -> None:
    world, service = World(tmp_path, 200), Service(VirtualClock(), durations=lambda _: 5.0)
    world.shelf = Troubled(lambda url, _: unavailable() if "/t3." in url else None)
    summary = await world.run(service, in_flight=5, rate_limit=4, rate_period=2.0)
    assert summary.counts["done"] == 199
    assert summary.counts["failed"] + summary.counts["fetching"] == 1
    assert asyncio.get_running_loop().time() < 900.0


async def test_a_result_that_was_just_announced_is_retried_for_longer(tmp_path: Path) -> None:
    """For some time after the API has announced a result, the host does not have it."""
    begun: dict[str, float] = {}

    def late(url: str, now: float) -> DownloadError | None:
        is_there = now - begun.setdefault(url, now) >= 120.0
        return None if is_there else DownloadError("gone", "the media host answers 404", stale=True)

    world, service = World(tmp_path, 20), Service(VirtualClock(), durations=lambda _: 5.0)
    world.shelf = Troubled(late)
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 20)
    assert service.requests["submit"] == 20


async def test_a_result_that_never_appears_fails_after_minutes(tmp_path: Path) -> None:
    def never(url: str, now: float) -> DownloadError | None:
        return DownloadError("gone", "the media host answers 404", stale=True)

    world, service = World(tmp_path, 2), Service(VirtualClock(), durations=lambda _: 5.0)
    world.shelf = Troubled(never)
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["failed"]) == (Exit.FAILED, 2)
    assert 300.0 <= asyncio.get_running_loop().time() < 400.0


@pytest.mark.parametrize(
    ("urls", "kind", "first"),
    [
        (("https://m/cover.jpg", "https://m/v.mp4"), "video", "https://m/v.mp4"),
        (("https://m/cover", "https://m/v.MP4?sig=a.jpg"), "video", "https://m/v.MP4?sig=a.jpg"),
        (("https://m/1", "https://m/2"), "video", "https://m/1"),
        (("https://m/v.mp4", "https://m/p.png"), "image", "https://m/p.png"),
        (("https://m/cover.jpg", "https://m/2"), "video", "https://m/2"),
        (("https://[", "https://m/2"), "video", "https://m/2"),
    ],
)
def test_the_url_of_the_right_kind_is_asked_first(urls: tuple[str, ...], kind: str, first: str) -> None:
    found = likely_first(urls, "video" if kind == "video" else "image")
    assert found[0] == first
    assert sorted(found) == sorted(urls)


class WebmShelf(Shelf):
    """Every result is WebM, whatever its name."""

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        return Verified(url, 1, "video/webm")


async def test_a_wrong_ending_is_recorded_for_each_task_and_reported_once(tmp_path: Path) -> None:
    world, service = World(tmp_path, 3), Service(VirtualClock(), durations=lambda _: 5.0)
    world.shelf = WebmShelf()
    assert (await world.run(service)).counts["done"] == 3
    assert sum("holds WebM" in words for words in world.said) == 1
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select count(*) from events where event = 'ending'").fetchone() == (3,)
