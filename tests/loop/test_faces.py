"""Chosen faces on virtual time: detected once for a target, for an hour, and never paid for by mistake."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchswap import wire
from batchswap.ledger.file import connection
from batchswap.runner.collect.poll import REMARKS
from batchswap.tasks import Faces, Model, Row, content_digest
from tests.loop.service import Service, lognormal
from tests.loop.test_run import always, once
from tests.loop.world import World
from tests.virtual import VirtualClock

QUICK = lognormal(6, 0.35)
ANNA = "https://cdn.example/anna.jpg"


def row(key: str, target: str, faces: Faces, model: Model = Model.VIDEO_MULTI) -> Row:
    return Row(key, content_digest(model, target, "", faces), model, target, "", f"b/{key}.mp4", 2, faces)


def duo(count: int, targets: int = 1) -> list[Row]:
    """Make rows with different new faces for some targets."""
    return [
        row(f"d{i}", f"https://cdn.example/duo{i % targets}.mp4", ((1, f"https://cdn.example/{i}.jpg"),))
        for i in range(count)
    ]


def made(folder: Path, found: list[Row], **settings: object) -> World:
    folder.mkdir(exist_ok=True)
    world = World(folder, 0, **settings)
    world.enrol(found)
    return world


def reasons(world: World) -> dict[str, tuple[str, str]]:
    with closing(connection.connect(world.settings.db, write=False)) as db:
        found = db.execute("select key, code, reason from tasks where code <> ''").fetchall()
    return {key: (code, reason) for key, code, reason in found}


def inputs(service: Service) -> list[dict[str, Any]]:
    return [param["input"] for _, _, _, param in service.tasks.values()]


async def test_a_target_is_detected_once_for_all_its_rows(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(20, 2)), Service(VirtualClock(), durations=QUICK, limit=20, period=10.0)
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["done"]) == (0, 20)
    assert len(service.detections) == 2
    assert summary.requests["detect"] == service.requests["detect"]
    assert summary.requests["estimate"] == 1
    assert max(service.accepted.values()) == 1
    assert service.busiest() <= 20


async def test_every_face_is_listed_and_unnamed_faces_keep_their_own_picture(tmp_path: Path) -> None:
    service = Service(VirtualClock(), durations=QUICK, faces=lambda _: (0, 1, 2))
    target = "https://cdn.example/trio.mp4?signature=s3cret"
    still = row("still", "https://cdn.example/trio.png", ((0, ANNA),), Model.IMAGE_MULTI)
    world = made(tmp_path, [row("trio", target, ((1, ANNA),)), still])
    assert (await world.run(service)).counts["done"] == 2
    clip, picture = sorted(inputs(service), key=lambda found: "image_url" in found)
    assert clip == {
        "detect_id": "id-d0",
        "video_url": target,
        "faces": [
            {"face_id": 0, "target": "https://media.example/d0/0.jpg?s=1"},
            {"face_id": 1, "target": ANNA},
            {"face_id": 2, "target": "https://media.example/d0/2.jpg?s=1"},
        ],
    }
    assert picture["image_url"] == "https://cdn.example/trio.png"
    assert picture["faces"][0]["target"] == ANNA
    with closing(connection.connect(world.settings.db, write=False)) as db:
        shown = "\n".join(
            str([c for c in row if not isinstance(c, bytes)]) for row in db.execute("select * from detections")
        )
    assert "s3cret" not in shown
    assert "?s=1" not in shown


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ((3,), "face 3 was not detected; detected: 0, 1"),
        ((0, 2, 7), "faces 2, 7 were not detected; detected: 0, 1"),
    ],
)
async def test_a_face_that_was_not_detected_fails_its_row_and_names_the_detected_ones(
    tmp_path: Path, named: tuple[int, ...], words: str
) -> None:
    wrong = row("wrong", "https://cdn.example/duo0.mp4", tuple((i, ANNA) for i in named))
    world, service = made(tmp_path, [wrong, *duo(1)]), Service(VirtualClock(), durations=QUICK)
    summary = await world.run(service)
    assert (summary.counts["done"], summary.counts["failed"]) == (1, 1)
    assert reasons(world)["wrong"] == ("face-not-found", words)
    assert service.requests["submit"] == 1
    assert summary.credits["spent"] == 1.0


async def test_a_target_without_faces_fails_its_rows_and_is_not_tried_for_each(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(30)), Service(VirtualClock(), durations=QUICK, faces=lambda _: ())
    summary = await world.run(service, retries=2)
    assert summary.counts["failed"] == 30
    assert reasons(world)["d7"] == ("detect-failed", "no faces were detected: no face found")
    assert len(service.detections) == 3
    assert service.requests["submit"] == 0


@pytest.mark.parametrize("fault", ["500", "429", "unsent", "dropped", "404"])
async def test_trouble_in_detection_is_tried_again(tmp_path: Path, fault: str) -> None:
    world = made(tmp_path, duo(3))
    service = Service(VirtualClock(), durations=QUICK, fault=once("detect", fault, 3))
    assert (await world.run(service)).counts["done"] == 3
    assert service.requests["submit"] == 3


@pytest.mark.parametrize(("fault", "code"), [("500", "detect-failed"), ("422", "422")])
async def test_a_failed_detection_fails_the_row_unpaid(tmp_path: Path, fault: str, code: str) -> None:
    world = made(tmp_path, duo(3))
    service = Service(VirtualClock(), durations=QUICK, fault=always("detect", fault))
    summary = await world.run(service)
    assert summary.counts["failed"] == 3
    assert {found for found, _ in reasons(world).values()} == {code}
    assert service.requests["submit"] == 0
    assert service.requests["detect"] == (1 if fault == "422" else 4)


async def test_a_detection_is_valid_in_a_resumed_run_and_repeated_after_its_hour(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(9)), Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=3)
    await asyncio.sleep(3000.0)
    await world.run(service, limit=6)
    assert len(service.detections) == 1
    await asyncio.sleep(300.0)  # the last minutes of the hour are left alone
    assert (await world.run(service)).counts["done"] == 9
    assert len(service.detections) == 2
    assert service.requests["submit"] == 9


async def test_a_detection_that_expires_while_its_rows_wait_is_repeated_before_the_submit(tmp_path: Path) -> None:
    world = made(tmp_path, duo(4))
    service = Service(VirtualClock(), durations=lambda _: 2400.0, price=1.0)
    summary = await world.run(service, in_flight=1)
    assert summary.counts["done"] == 4
    assert service.requests["submit"] == 4  # none was refused because it came too late
    assert 2 <= len(service.detections) <= 4


async def test_a_detection_that_expired_early_is_repeated_once_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    world = made(tmp_path, duo(6))
    service = Service(VirtualClock(), durations=lambda _: 200.0, detection_ttl=600.0)
    summary = await world.run(service, in_flight=1)
    assert summary.counts["done"] == 6
    assert max(service.accepted.values()) == 1
    assert service.accepted.total() == 6
    assert service.requests["submit"] <= 6 + 3
    assert summary.credits["spent"] == 6.0


async def test_a_row_that_is_refused_with_a_fresh_detection_is_refused(tmp_path: Path) -> None:
    """The second refusal is final: a wrong row does not detect forever."""

    world = made(tmp_path, duo(1))
    fault = once("submit", "422", 5)
    service = Service(VirtualClock(), durations=QUICK, fault=fault, detecting=90.0)
    summary = await world.run(service)
    assert summary.counts["failed"] == 1
    assert service.requests["submit"] == 2
    assert len(service.detections) == 2


async def test_an_estimate_that_fails_because_of_an_old_detection_is_repeated(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(2)), Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=1)
    await asyncio.sleep(1000.0)
    service.fault = once("estimate", "422")
    summary = await world.run(service)
    assert summary.counts["done"] == 2
    assert len(service.detections) == 2


async def test_a_kill_during_a_detection_loses_nothing(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(5)), Service(VirtualClock(), durations=QUICK, detecting=30.0)
    asyncio.get_running_loop().call_later(20.0, world.kill)
    with pytest.raises(OSError, match="killed"):
        await world.run(service)
    assert (await world.run(service)).counts["done"] == 5
    assert max(service.accepted.values()) == 1


async def test_another_keys_detection_is_not_used(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(2)), Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=1)
    with closing(connection.connect(world.settings.db, write=True)) as db:
        db.execute("update detections set account = 'another key'")
    await world.run(service)
    assert len(service.detections) == 2


async def test_after_submitting_has_stopped_the_run_does_not_wait_for_faces(tmp_path: Path) -> None:
    world = made(tmp_path, [*duo(1), row("late", "https://cdn.example/long.mp4", ((0, ANNA),))])
    service = Service(VirtualClock(), durations=QUICK, balance=0.0)
    slow: Callable[[str], float] = lambda url: 1e6 if "long" in url else 1.0  # noqa: E731
    service.detecting_of = slow
    summary = await world.run(service)
    assert summary.exit_code == 6
    assert summary.counts["queued"] == 2
    assert asyncio.get_running_loop().time() < 1800.0


async def test_unknown_and_broken_answers_to_a_detection(tmp_path: Path) -> None:
    """With missing fields or fields of another type, the row fails with a reason, or the detection continues."""

    answers: list[Any] = [{}, {"detect_task_id": 7}, None, []]
    for number, data in enumerate(answers):
        world = made(tmp_path / str(number), duo(1))
        service = Service(VirtualClock(), durations=QUICK)
        service.override["detect"] = data
        summary = await world.run(service)
        assert summary.counts["failed"] == 1
        assert reasons(world)["d0"][0] == "detect-failed"
    odd = wire.Detection("d0", "warming-up").to_json()
    assert wire.Detection.from_json(odd).status == "warming-up"


async def test_an_edited_face_is_another_task_with_the_same_detection(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(2)), Service(VirtualClock(), durations=QUICK)
    await world.run(service)
    edited = [msgspec.structs.replace(each, output=each.output) for each in duo(2)]
    edited[1] = row("d1", "https://cdn.example/duo0.mp4", ((1, ANNA),))
    world.enrol(edited)
    world.shelf.files.pop("b/d1.mp4")
    summary = await world.run(service)
    assert summary.counts["done"] == 2
    assert service.accepted.total() == 3
    assert len(service.detections) == 1


async def test_a_remark_about_a_success_is_reported_once_and_recorded_for_each_task(tmp_path: Path) -> None:
    world, service = made(tmp_path, duo(3)), Service(VirtualClock(), durations=QUICK)
    service.remark = "the face picture has 2 faces: the largest is used"
    await world.run(service)
    said = [line for line in world.said if "the largest is used" in line]
    assert [line.partition(": ")[2] for line in said] == [service.remark]
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select count(*) from events where event = 'remark'").fetchone() == (3,)


class Chatty(Service):
    """Sends a different remark for each success."""

    def info(self, task_id: str, now: float) -> wire.TaskInfo:
        self.remark = f"took {self.tasks[task_id][0]:.3f} s, as {task_id}"
        return super().info(task_id, now)


async def test_remarks_that_differ_for_each_task_are_limited(tmp_path: Path) -> None:
    world, service = World(tmp_path, 60), Chatty(VirtualClock(), durations=lambda _: 5.0)
    assert (await world.run(service)).counts["done"] == 60
    assert sum("took" in line for line in world.said) == REMARKS
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select count(*) from events where event = 'remark'").fetchone() == (60,)
