"""With --preflight, a target without a face is neither uploaded nor submitted, and a slow look delays no other task."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from batchswap.events import LogEvent
from batchswap.local.engine import FaceSurvey
from batchswap.preflight.faces.pool import EngineUnusable, NotExamined
from batchswap.runner.prepare import face_check
from batchswap.tasks import MediaKind
from tests.loop.service import Service, lognormal
from tests.loop.test_uploads import QUICK, clips, made, reasons, row
from tests.loop.world import World
from tests.virtual import VirtualClock

Seen = dict[str, FaceSurvey | Exception | float]
"""What a look at a file of this name gives: a survey, an error, or a survey with a face after so many seconds."""

FACE = FaceSurvey("video", 10.0, 4, 1, 0.3, "middle")
NONE = FaceSurvey("video", 10.0, 29)


class Eyes:
    """Looks at targets as a script says."""

    def __init__(self) -> None:
        self.seen: Seen = {}
        self.looks: list[str] = []
        self.open = self.most = 0
        self.closed = 0

    async def look_at_file(self, path: Path, kind: MediaKind, sha256: str = "") -> FaceSurvey:
        return await self._look(path.name)

    async def look_at_url(self, url: str, kind: MediaKind) -> FaceSurvey:
        return await self._look(url)

    async def _look(self, name: str) -> FaceSurvey:
        self.looks.append(name)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            match self.seen.get(name, FACE):
                case FaceSurvey() as survey:
                    return survey
                case Exception() as error:
                    raise error
                case float(seconds):
                    await asyncio.sleep(seconds)
            return FACE
        finally:
            self.open -= 1

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    found = Eyes()
    make: Callable[..., Eyes] = lambda *_, **__: found  # noqa: E731
    monkeypatch.setattr(face_check, "FaceSearch", make)
    return found


def service() -> Service:
    return Service(VirtualClock(), durations=QUICK)


async def test_a_target_without_a_face_is_not_uploaded_and_costs_nothing(tmp_path: Path, eyes: Eyes) -> None:
    world, first = clips(tmp_path, 4), service()
    eyes.seen = {"1.mp4": NONE, "3.mp4": NONE}
    summary = await world.run(first, preflight=True)
    assert (summary.counts["done"], summary.counts["failed"]) == (2, 2)
    assert summary.credits["spent"] == 2.0
    assert (first.requests["submit"], sorted(first.uploads.values())) == (2, [b"anna", b"clip 0", b"clip 2"])
    (code, reason), (_, other) = sorted(reasons(world))
    assert code == "no-face"
    assert reason.startswith("no face found in 1.mp4: it would be paid for without a swap; `batchswap retry` ")
    assert other.startswith("no face found in 3.mp4: ")
    assert eyes.closed == 1


async def test_without_the_option_nothing_is_looked_at(tmp_path: Path, eyes: Eyes) -> None:
    world = clips(tmp_path, 2)
    eyes.seen = {"1.mp4": NONE}
    assert (await world.run(service())).counts["done"] == 2
    assert eyes.looks == []


async def test_slow_looks_delay_neither_submits_nor_polls_of_others(tmp_path: Path, eyes: Eyes) -> None:
    """The first eight looks take an hour each; the other clips are done long before."""
    world, first = clips(tmp_path, 60), service()
    eyes.seen = {f"{number}.mp4": 3600.0 for number in range(8)}
    done_at: list[float] = []
    fetch = world.shelf.fetch

    async def noted(*args: str, **options: str) -> object:
        done_at.append(asyncio.get_running_loop().time())
        return await fetch(*args, **options)  # type: ignore[arg-type]

    world.shelf.fetch = noted  # type: ignore[method-assign, assignment]
    summary = await world.run(first, preflight=True, ahead=16)
    assert summary.counts["done"] == 60
    assert sum(at < 600.0 for at in done_at) == 52
    assert eyes.most <= 16


async def test_what_cannot_be_examined_is_submitted_and_said_once(tmp_path: Path, eyes: Eyes) -> None:
    world = clips(tmp_path, 5)
    crashed = NotExamined("the worker process died twice")
    eyes.seen = {"0.mp4": crashed, "1.mp4": crashed, "2.mp4": NotExamined("the video is damaged")}
    assert (await world.run(service(), preflight=True)).counts["done"] == 5
    assert sorted(line.partition(" ")[2] for line in world.warned) == [
        "was not checked for faces, and is submitted as usual: the video is damaged",
        "was not checked for faces, and is submitted as usual: the worker process died twice",
    ]


async def test_without_the_engine_all_targets_are_submitted_after_one_sentence(tmp_path: Path, eyes: Eyes) -> None:
    world = clips(tmp_path, 30)
    eyes.seen = {f"{number}.mp4": EngineUnusable("this needs mediapipe") for number in range(30)}
    assert (await world.run(service(), preflight=True, ahead=4)).counts["done"] == 30
    assert world.warned == [
        "--preflight: targets are not checked for faces, and are submitted as usual: this needs mediapipe"
    ]
    assert len(eyes.looks) <= 4


async def test_remarks_are_reported_once_for_each_target(tmp_path: Path, eyes: Eyes) -> None:
    (tmp_path / "duo.mp4").write_bytes(b"duo")
    world = made(tmp_path, [row(f"r{i}", "duo.mp4", f"https://cdn.example/{i}.jpg") for i in range(5)])
    eyes.seen = {"duo.mp4": FaceSurvey("video", 60.0, 8, 2, 0.22, "left", 42.0)}
    assert (await world.run(service(), preflight=True)).counts["done"] == 5
    (words,) = [line for line in world.said if "duo.mp4" in line]
    assert words.startswith(
        "duo.mp4 shows 2 faces at once: the largest is 22 % of the width, and a swap of the primary "
    )
    assert "face takes the one on the left, from 0:42 on;" in words
    assert [event for event, _ in world.events if event is LogEvent.INPUT_SUSPECT] == [LogEvent.INPUT_SUSPECT]


@pytest.mark.parametrize(("fetch", "looks"), [(0, 0), (1000, 3)])
async def test_urls_are_examined_only_on_request(tmp_path: Path, eyes: Eyes, fetch: int, looks: int) -> None:
    world = World(tmp_path, 3)
    assert (await world.run(service(), preflight=True, fetch=fetch)).counts["done"] == 3
    assert len(eyes.looks) == looks


async def test_a_deadline_does_not_wait_for_looks(tmp_path: Path, eyes: Eyes) -> None:
    world = clips(tmp_path, 3)
    eyes.seen = {f"{number}.mp4": 3600.0 for number in range(3)}
    summary = await world.run(service(), preflight=True, ends_at=60.0)
    assert summary.counts["queued"] == 3
    assert asyncio.get_running_loop().time() < 120.0
    assert (eyes.open, eyes.closed) == (0, 1)
    eyes.seen = {}
    assert (await world.run(service(), preflight=True)).counts["done"] == 3


async def test_a_look_does_not_hold_up_a_run_that_submits_nothing_more(tmp_path: Path, eyes: Eyes) -> None:
    """The budget is enough for two of four tasks, and the last target takes an hour to examine."""
    world = clips(tmp_path, 4)
    eyes.seen = {"3.mp4": 3600.0}
    summary = await world.run(service(), preflight=True, budget=2.0)
    assert (summary.counts["done"], summary.counts["queued"]) == (2, 2)
    assert asyncio.get_running_loop().time() < 600.0


async def test_after_a_kill_during_the_looks_each_task_is_paid_once(tmp_path: Path, eyes: Eyes) -> None:
    world, first = clips(tmp_path, 12), Service(VirtualClock(), durations=lognormal(60, 0.1))
    eyes.seen = {f"{number}.mp4": 20.0 + number for number in range(12)}
    eyes.seen["5.mp4"] = NONE
    asyncio.get_running_loop().call_later(26.0, world.kill)
    with pytest.raises(Exception, match="killed"):
        await world.run(first, preflight=True)
    summary = await world.run(first, preflight=True)
    assert (summary.counts["failed"], summary.counts["done"] + summary.counts["uncertain"]) == (1, 11)
    assert max(first.accepted.values()) == 1
    assert not any("clip 5" in str(upload) for upload in first.uploads.values())


async def test_an_uncertain_attempt_is_sent_again_without_a_look(tmp_path: Path, eyes: Eyes) -> None:
    """The API may have accepted it: it is neither failed nor delayed."""
    world = clips(tmp_path, 1)
    lost = Service(VirtualClock(), durations=QUICK, fault=lambda _, kind: "dropped" if kind == "submit" else None)
    assert (await world.run(lost, preflight=True)).counts["uncertain"] == 1
    eyes.seen = {"0.mp4": NONE}
    assert (await world.run(service(), preflight=True, is_idempotent=True)).counts["done"] == 1
    assert len(eyes.looks) == 1
