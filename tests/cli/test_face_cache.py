"""The cache and the processes of the look at faces: neither may make a command fail."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import EngineError, MissingExtra
from batchswap.local.engine import FaceSurvey
from batchswap.preflight.faces import cache, pool
from batchswap.preflight.faces.cache import FaceCache, cache_folder
from batchswap.preflight.faces.pool import EngineUnusable, LookPool, NotExamined
from batchswap.preflight.faces.remarks import no_face, remarks
from batchswap.preflight.faces.search import FaceSearch

SURVEY = FaceSurvey("video", 60.0, 8, 2, 0.22, "left", 42.5, 2)


def test_what_was_found_is_kept_by_content_and_kind(tmp_path: Path) -> None:
    first = FaceCache(tmp_path / "new" / "batchswap")
    assert first.find("a" * 64, "video") is None
    first.keep("a" * 64, "video", SURVEY)
    first.close()
    again = FaceCache(tmp_path / "new" / "batchswap")
    assert again.find("a" * 64, "video") == SURVEY
    assert (again.find("a" * 64, "image"), again.find("b" * 64, "video")) == (None, None)
    again.close()


def test_entries_of_another_version_old_ones_and_too_many_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT", 3)
    found = FaceCache(tmp_path)
    for number in range(9):
        found.keep(f"{number}", "video", SURVEY)
    found.close()
    with closing(sqlite3.connect(tmp_path / "faces.db")) as db, db:
        db.execute("update faces set seen_at = seen_at + sha256")
        db.execute("update faces set version = 99 where sha256 = '8'")
        db.execute("update faces set seen_at = 1 where sha256 = '7'")
    again = FaceCache(tmp_path)
    assert [number for number in range(9) if again.find(f"{number}", "video")] == [4, 5, 6]
    again.close()


@pytest.mark.parametrize("content", [b"no database " * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_cache_is_removed_and_begun_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "faces.db").write_bytes(content)
    found = FaceCache(tmp_path)
    assert found.find("a", "video") is None
    found.keep("a", "video", SURVEY)
    assert not (tmp_path / "faces.db").exists()
    later = FaceCache(tmp_path)
    later.keep("a", "video", SURVEY)
    assert later.find("a", "video") == SURVEY
    later.close()


def test_an_entry_that_is_no_survey_counts_as_damage(tmp_path: Path) -> None:
    found = FaceCache(tmp_path)
    found.keep("a", "video", SURVEY)
    with closing(sqlite3.connect(tmp_path / "faces.db")) as db, db:
        db.execute("update faces set survey = ?", (b'{"kind": "video"}',))
    assert found.find("a", "video") is None
    assert not (tmp_path / "faces.db").exists()


def test_a_cache_that_cannot_be_written_or_has_no_place_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "faces.db").symlink_to(tmp_path / "file")
    for folder in (tmp_path / "file", tmp_path / "link", None):
        found = FaceCache(folder)
        found.keep("a", "video", SURVEY)
        assert found.find("a", "video") is None
    assert (tmp_path / "file").read_text() == "no folder"
    assert (tmp_path / "link" / "faces.db").is_symlink()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "batchswap"


def test_a_locked_cache_is_used_again_later(tmp_path: Path) -> None:
    found = FaceCache(tmp_path)
    found.keep("a", "video", SURVEY)
    with closing(sqlite3.connect(tmp_path / "faces.db", isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert found.find("a", "video") is None
        other.execute("commit")
    assert found.find("a", "video") == SURVEY
    found.close()


def in_pool(work: Callable[[LookPool], Coroutine[Any, Any, None]], most: int = 1) -> None:
    async def run() -> None:
        looks = LookPool(most)
        try:
            await work(looks)
        finally:
            await looks.close()

    asyncio.run(run())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise EngineError("video", "no face found in any frame")


def lack() -> None:
    raise MissingExtra("local", "mediapipe")


def test_a_process_that_dies_fails_only_its_own_look() -> None:
    async def work(looks: LookPool) -> None:
        with pytest.raises(NotExamined, match="the worker process died twice"):
            await looks.run(die)
        assert await looks.run(abs, -3) == 3
        with pytest.raises(EngineError, match="no face found in any frame"):
            await looks.run(refuse)
        with pytest.raises(EngineUnusable, match=r"this needs mediapipe, .*batchswap\[local\]"):
            await looks.run(lack)

    in_pool(work)


def test_after_several_crashes_in_a_row_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CRASHES", 2)

    async def work(looks: LookPool) -> None:
        for _ in range(2):
            with pytest.raises(NotExamined, match="the worker process died twice"):
                await looks.run(die)
        with pytest.raises(EngineUnusable, match="2 looks failed, one after the other"):
            await looks.run(abs, -3)

    in_pool(work)


def test_a_look_that_takes_too_long_ends_its_process() -> None:
    async def work(looks: LookPool) -> None:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(NotExamined, match="processing took longer than"):
            patch.setattr(pool, "LIMIT", 0.5)
            await looks.run(signal.pause)
        assert await looks.run(abs, -3) == 3

    in_pool(work)


class Counted(LookPool):
    """Counts looks, and answers them without a process."""

    def __init__(self) -> None:
        super().__init__(1)
        self.count = 0

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        await asyncio.sleep(0.01)
        return SURVEY


def test_a_content_is_examined_once_also_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    paths = [tmp_path / f"{number}.mp4" for number in range(10)]
    for path in paths:
        path.write_bytes(b"the same")

    async def work() -> int:
        looks = Counted()
        async with FaceSearch(looks) as search:
            assert await asyncio.gather(*(search.look_at_file(path, "video") for path in paths)) == [SURVEY] * 10
            with pytest.raises(NotExamined, match="No such file"):
                await search.look_at_file(tmp_path / "gone.mp4", "video")
        return looks.count

    assert asyncio.run(work()) == 1


def test_a_url_on_a_private_address_is_not_fetched_for_a_public_provider(tmp_path: Path) -> None:
    async def work() -> None:
        async with FaceSearch(Counted(), fetch=1000, base_url="https://api.invalid") as search:
            with pytest.raises(NotExamined, match=r"it cannot be downloaded \(private-address\)"):
                await search.look_at_url("http://127.0.0.1:9/v.mp4", "video")

    asyncio.run(work())


def test_a_url_that_cannot_be_stored_is_not_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    async def work() -> None:
        async with FaceSearch(Counted(), fetch=1000, base_url="http://127.0.0.1:9") as search:
            with pytest.raises(NotExamined, match="it cannot be stored: No such file or directory"):
                await search.look_at_url("http://127.0.0.1:9/v.mp4", "video")

    asyncio.run(work())


def test_the_words_name_size_place_and_time() -> None:
    few = FaceSurvey("video", 7200.0, 240)
    assert no_face("v.mp4", few) == (
        "no face found in v.mp4 (240 frames were looked at, one every 30 s): it would be paid for without a swap"
    )
    assert no_face("v.mp4", FaceSurvey("image", 0.0, 1), is_free=True) == "no face found in v.mp4: it would fail"
    several, turned = remarks("v.mp4", SURVEY, is_primary=True)
    assert several.startswith(
        "v.mp4 shows 2 faces at once: the largest is 22 % of the width, and a swap of the primary "
    )
    assert "the one on the left, from 0:42 on;" in several
    assert turned == "v.mp4 is upside down: turn it, because a swap may fail"
    assert list(remarks("v.mp4", SURVEY, is_primary=False)) == [turned]
    late = FaceSurvey("video", 7200.0, 8, 2, 0.3, "middle", 3725.0)
    assert "in the middle, from 1:02:05 on;" in next(remarks("v.mp4", late, is_primary=True))
    still = FaceSurvey("image", 0.0, 1, 2, 0.025, "right")
    small, both = remarks("v.png", still, is_primary=True)
    assert small.startswith("the largest face in v.png is 2.5 % of the width, less than 4 %: ")
    assert "the one on the right; " in both
