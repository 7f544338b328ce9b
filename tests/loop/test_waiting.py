"""Task timeouts, between runs and during outages."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.downloads import Verified
from batchswap.errors import DownloadError, Exit
from batchswap.ledger.file import connection
from batchswap.runner.collect import download
from tests.loop.service import Service, Shelf
from tests.loop.test_run import always, once
from tests.loop.world import World
from tests.virtual import VirtualClock

HOUR = 3600.0


async def left_alone(world: World, service: Service, hours: float) -> None:
    """Stop a run while its tasks are running, and wait for `hours`."""
    await world.run(service, deadline=VirtualClock().now() + 1000.0)
    assert world.counts()["running"] == len(service.tasks) > 0
    await asyncio.sleep(hours * HOUR)


def failure(world: World) -> tuple[str, str]:
    with closing(connection.connect(world.settings.db, write=False)) as db:
        found: tuple[str, str] = db.execute("select code, reason from tasks where state = 'failed'").fetchone()
    return found


@pytest.mark.parametrize(("fault", "times"), [("unsent", 1), ("dropped", 3), ("503", 5), ("404", 5)])
async def test_a_task_that_ended_between_runs_is_collected_after_failed_polls(
    tmp_path: Path, fault: str, times: int
) -> None:
    world, service = World(tmp_path, 5), Service(VirtualClock(), durations=lambda _: HOUR)
    await left_alone(world, service, hours=8.0)
    service.fault = once("poll", fault, times)
    summary = await world.run(service)
    assert summary.counts["done"] == 5
    assert service.requests["submit"] == 5


async def test_a_task_beyond_its_timeout_ends_with_the_first_poll_that_finds_it_running(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 1e9)
    await left_alone(world, service, hours=8.0)
    service.fault, before = once("poll", "503", 3), service.requests["poll"]
    summary = await world.run(service)
    assert service.requests["poll"] - before == 3 + 1
    assert summary.counts["failed"] == 1
    assert failure(world) == ("timeout", "not finished after 6 h; `batchswap retry` resumes the wait and costs nothing")


async def test_polls_that_fail_for_the_whole_task_timeout_end_the_task(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=lambda _: HOUR)
    await left_alone(world, service, hours=8.0)
    service.fault = always("poll", "404")
    begun = asyncio.get_running_loop().time()
    another = "ak_" + "1" * 32  # to which a 404 says nothing
    assert (await world.run(service, key=another)).counts["failed"] == 1
    assert 6 * HOUR < asyncio.get_running_loop().time() - begun < 6.1 * HOUR
    assert failure(world)[1].startswith("no useful answer about it for 6 h")


async def test_a_task_that_ended_in_time_is_collected_after_an_outage_beyond_its_timeout(
    tmp_path: Path,
) -> None:
    world, service = World(tmp_path, 1, task_timeout=HOUR), Service(VirtualClock(), durations=lambda _: 0.9 * HOUR)
    trouble = [(0.0, 30.0), (0.8 * HOUR, 1.2 * HOUR)]

    def fault(service: Service, kind: str) -> str | None:
        now = service.clock.monotonic()
        return "503" if kind == "poll" and any(begin <= now < end for begin, end in trouble) else None

    service.fault = fault
    assert (await world.run(service)).counts["done"] == 1


class SlowToExpire(Shelf):
    """The first download takes two hours, and then the URL has expired."""

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        if not self.stale:
            self.stale.add(url)
            await asyncio.sleep(2 * HOUR)
            raise DownloadError("gone", "expired", stale=True)
        return Verified(url, 1, "video/mp4")


async def test_failed_polls_before_a_success_do_not_count_when_a_new_url_is_requested(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1, task_timeout=HOUR), Service(VirtualClock(), durations=lambda _: 0.1)
    world.shelf, answers = SlowToExpire(), iter(["503", None, "503"])
    service.fault = lambda _, kind: next(answers, None) if kind == "poll" else None
    assert (await world.run(service)).counts["done"] == 1


async def test_a_task_that_the_api_knew_in_between_is_not_lost(tmp_path: Path) -> None:
    """The task is unknown twice, each time too briefly to be lost."""

    def fault(service: Service, kind: str) -> str | None:
        now = service.clock.monotonic()
        return "404" if kind == "poll" and (now < 250.0 or 400.0 < now < 640.0) else None

    service = Service(VirtualClock(), durations=lambda _: 900.0, fault=fault)
    assert (await World(tmp_path, 1).run(service)).counts["done"] == 1


class SlowShelf(Shelf):
    """Each download takes ten seconds."""

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        await asyncio.sleep(10.0)
        return await super().fetch(url, output, kind=kind, tries=tries, remote_id=remote_id)


async def test_nothing_is_submitted_while_too_many_results_wait_for_their_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "BACKLOG", 10)

    world, service = World(tmp_path, 60), Service(VirtualClock(), durations=lambda _: 1.0)
    shelf = world.shelf = SlowShelf()
    most: list[int] = []
    service.fault = lambda each, kind: most.append(len(each.tasks) - len(shelf.files)) if kind == "submit" else None
    summary = await world.run(service, downloads=1, in_flight=5, rate_limit=None)
    assert summary.counts["done"] == 60
    assert 10 <= max(most) < 10 + 5
    (said,) = [words for words in world.said if "download" in words]
    assert said == "10 results wait for their download: nothing is submitted until there are fewer"


async def test_tasks_are_prepared_when_the_folder_answers_again(tmp_path: Path) -> None:
    """A network share is away from the 30th second on, for a minute. Running tasks are polled meanwhile."""
    world = World(tmp_path, 60)
    clock = world.clock()

    def is_here() -> bool:
        return not 30.0 <= clock.monotonic() < 90.0

    world.shelf.answers = is_here  # type: ignore[method-assign]
    service = Service(clock, durations=lambda _: 20.0)
    summary = await world.run(service, in_flight=30)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 60)
    submits = [began for began, *_ in service.tasks.values()]
    assert not [at for at in submits if 60.0 < at < 89.0], "those that were prepared before are submitted"
    assert max(submits) >= 90.0
