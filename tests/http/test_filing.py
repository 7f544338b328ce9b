"""Group sync: many files share few calls, and each has its own result or error."""

import asyncio
import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from batchswap.downloads import Place, Verified, publish
from batchswap.downloads.fsync_batch import Filing, Folders, Steps
from batchswap.downloads.part_file import PartFile
from batchswap.downloads.resume import BodyPlan
from batchswap.errors import DownloadError
from tests.http.samples import movie
from tests.waits import until


def root() -> Steps[None]:
    handle = os.open("/", os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def arrived(place: Place) -> PartFile:
    part = PartFile(place, "https://h/x.mp4")
    part.expect(BodyPlan("write", 0, "", len(movie())))
    part.held += movie()
    return part


async def written(filing: Filing, *places: Place) -> list[Verified]:
    return await asyncio.gather(*(filing.do(partial(arrived(place).write, "video")) for place in places))


def watch_syncs(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], bool] = lambda _: False) -> Counter[str]:
    """Count the syncs of files and folders, and let some of them fail."""
    seen, sync = Counter[str](), os.fsync

    def watched(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        seen["folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"] += 1
        if spoil(path):
            raise OSError(errno.EIO, "the disk is broken")
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    return seen


def test_waiting_work_shares_the_sync_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    places = [Place(tmp_path, f"{'ab'[number % 2]}/{number}.mp4") for number in range(10)]
    seen = watch_syncs(monkeypatch)

    async def main() -> None:
        filing = Filing()
        verified = await written(filing, *places)
        await asyncio.gather(*map(partial(publish, filing=filing), places, verified))

    asyncio.run(main())
    assert [place.final.read_bytes() for place in places] == [movie()] * 10
    assert seen == {"file": 10, "folder": 2}


def test_each_work_has_its_own_result_or_error(tmp_path: Path) -> None:
    places = [Place(tmp_path, f"{number}.mp4") for number in range(3)]
    places[1].final.write_text("somebody's")

    async def main() -> list[BaseException | None]:
        filing = Filing()
        verified = await written(filing, *places)
        naming = map(partial(publish, filing=filing), places, verified)
        return await asyncio.gather(*naming, return_exceptions=True)

    first, taken, last = asyncio.run(main())
    assert (first, last) == (None, None)
    assert isinstance(taken, DownloadError)
    assert taken.reason == "output-taken"
    assert [place.final.stat().st_size for place in places] == [len(movie()), len("somebody's"), len(movie())]


def test_a_failed_sync_fails_the_work_that_waited_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    places = [Place(tmp_path, name) for name in ("a/1.mp4", "b/2.mp4", "a/3.mp4", "b/4.mp4")]

    async def main() -> list[BaseException | None]:
        filing = Filing()
        verified = await written(filing, *places)
        watch_syncs(monkeypatch, lambda path: path.name == "b")
        naming = map(partial(publish, filing=filing), places, verified)
        return await asyncio.gather(*naming, return_exceptions=True)

    found = asyncio.run(main())
    assert [found[0], found[2]] == [None, None]
    for error in (found[1], found[3]):
        assert isinstance(error, DownloadError)
        assert (error.reason, error.final) == ("disk", False)
        assert "the disk is broken" in str(error)
    left = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert left == [".2.mp4.part", ".4.mp4.part", "2.mp4", "4.mp4"], "the parts stay until their names are sure"


def test_a_part_whose_sync_fails_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, "1.mp4")
    with monkeypatch.context() as spoiled:
        watch_syncs(spoiled, lambda path: path.suffix == ".part")
        part = arrived(place)
        with pytest.raises(DownloadError, match="the disk is broken"):
            asyncio.run(Filing().do(partial(part.write, "video")))
        part.close()
    part = PartFile(place, "https://h/x.mp4")
    part.open()
    assert not part.is_whole, "the part on the disk may be incomplete"
    part.close()


def test_a_cancelled_caller_waits_for_the_end_of_its_work() -> None:
    begun, ended = asyncio.Event(), False

    async def main() -> None:
        loop, may_end = asyncio.get_running_loop(), asyncio.Event()

        def work(_: Folders) -> Steps[None]:
            nonlocal ended
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(10)
            yield from root()
            ended = True

        waiting = asyncio.create_task(Filing().do(work))
        await until(begun.is_set, "the work")
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended

    asyncio.run(main())


def test_a_loop_that_ends_leaves_no_caller_waiting() -> None:
    def work(_: Folders) -> Steps[None]:
        yield from root()

    async def main() -> None:
        filing = Filing()
        waiting = [asyncio.create_task(filing.do(work)) for _ in range(3)]
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()  # as asyncio.run does at its end
        async with asyncio.timeout(10):
            await asyncio.gather(*others, return_exceptions=True)
        assert all(task.cancelled() for task in waiting)

    asyncio.run(main())


def test_without_a_thread_no_caller_is_left_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_: Folders) -> Steps[None]:
        yield from root()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> list[BaseException | None]:
        filing = Filing()
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", start)
            async with asyncio.timeout(10):
                found = await asyncio.gather(*(filing.do(work) for _ in range(2)), return_exceptions=True)
        await filing.do(work)
        return found

    assert [type(error) for error in asyncio.run(main())] == [RuntimeError, RuntimeError]
