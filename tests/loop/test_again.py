"""A done task whose file is missing: `retry` downloads it again free of charge, whatever the API answers then."""

from contextlib import closing
from pathlib import Path

import pytest

from batchswap.downloads import Verified
from batchswap.errors import DownloadError, Exit, UsageError
from batchswap.ledger import operator_actions, transitions
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.states import Event
from tests.loop.service import Service, Shelf
from tests.loop.world import World
from tests.virtual import VirtualClock


class Parts(Shelf):
    """A shelf that fails, as a disk does, if there is neither a part nor a file to rename."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: set[str] = set()

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        found = await super().fetch(url, output, kind=kind, tries=tries, remote_id=remote_id)
        self.parts.add(output)
        return found

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        if output not in self.parts and self.files.get(output) != part.sha256:
            raise DownloadError("part-gone", "what was fetched is no longer there")
        await super().publish(output, part, replaces=replaces)
        self.parts.discard(output)


def world_of(folder: Path, count: int) -> World:
    world = World(folder, count)
    world.shelf = Parts()
    return world


def delete_and_retry(world: World) -> None:
    """Delete the file of the first task, and retry the task."""
    del world.shelf.files["b/t0.mp4"]
    with closing(connection.connect(world.settings.db, write=True)) as db:
        task = transitions.find_task(db, 1)
        with pytest.raises(UsageError, match="is done: only failed and cancelled tasks can be retried"):
            operator_actions.retry(db, Stamp(VirtualClock().now(), None), task)
        assert operator_actions.retry(db, Stamp(VirtualClock().now(), None), task, is_gone=True) is Event.RESUMED


async def test_invariant_3_a_lost_file_is_polled_and_never_submitted(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 2), Service(VirtualClock(), durations=lambda _: 5.0, price=3.0)
    await world.run(service)
    polls = service.requests["poll"]
    delete_and_retry(world)
    summary = await world.run(service, budget=0.0)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 2)
    assert "b/t0.mp4" in world.shelf.files
    assert (service.requests["submit"], service.requests["poll"]) == (2, polls + 1)
    assert (summary.credits["spent"], summary.credits["reserved"]) == (6.0, 0.0)


async def test_a_result_that_the_api_no_longer_has_is_lost_and_stays_paid(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 5.0, price=3.0)
    await world.run(service)
    delete_and_retry(world)
    service.tasks.clear()
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["failed"]) == (Exit.FAILED, 1)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select code from tasks").fetchone() == ("lost",)
    assert (summary.credits["spent"], service.requests["submit"]) == (3.0, 1)


async def test_a_media_host_that_is_gone_for_all_of_patience_costs_nothing(tmp_path: Path) -> None:
    world, service = world_of(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 5.0, price=3.0)
    await world.run(service)
    delete_and_retry(world)
    world.shelf.unreachable.add("https://media.example/t0.mp4")
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["fetching"], summary.credits["spent"]) == (Exit.UNAVAILABLE, 1, 3.0)
    world.shelf.unreachable.clear()
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["done"], summary.credits["spent"]) == (Exit.DONE, 1, 3.0)
    assert service.requests["submit"] == 1
