"""Local files: each content is uploaded once, and the uploaded bytes are those that were checked."""

import asyncio
import os
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.errors import Exit, MaybeSent, NeverSent
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk
from batchswap.runner.prepare import uploads
from batchswap.runner.prepare.upload_health import Intake
from batchswap.runner.run import Account
from batchswap.runner.sync.waits import Locks
from batchswap.tasks import Model, Row, content_digest
from tests.loop.service import Service, lognormal
from tests.loop.world import World
from tests.virtual import START, VirtualClock

QUICK = lognormal(6, 0.35)


def row(key: str, target: str, face: str = "anna.jpg") -> Row:
    return Row(key, content_digest(Model.VIDEO, target, face), Model.VIDEO, target, face, f"b/{key}.mp4", 2)


def made(folder: Path, found: list[Row], **settings: object) -> World:
    """Make a world whose manifest and face are in `folder`."""
    world = World(folder, 0, **settings)
    (folder / "anna.jpg").write_bytes(b"anna")
    take(world, found)
    return world


def take(world: World, found: list[Row]) -> None:
    with closing(connection.connect(world.settings.db, write=True)) as db:
        enrol(db, Stamp(START, None), [Chunk("b", str(world.folder), "b.csv", found)], {})


def reasons(world: World) -> list[tuple[str, str]]:
    with closing(connection.connect(world.settings.db, write=False)) as db:
        return db.execute("select code, reason from tasks where code <> ''").fetchall()


def noticed(world: World) -> int:
    with closing(connection.connect(world.settings.db, write=False)) as db:
        return int(db.execute("select count(*) from events where event = 'input-changed'").fetchone()[0])


async def test_a_face_of_many_rows_is_uploaded_once_even_over_several_runs(tmp_path: Path) -> None:
    world = made(tmp_path, [row(f"r{i}", f"https://cdn.example/{i}.mp4") for i in range(60)])
    (tmp_path / "copy.jpg").write_bytes(b"anna")
    take(
        world,
        [row(f"r{i}", f"https://cdn.example/{i}.mp4", "copy.jpg" if i % 2 else "anna.jpg") for i in range(60)],
    )
    service = Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=30)
    summary = await world.run(service)
    assert summary.counts["done"] == 60
    assert list(service.uploads.values()) == [b"anna"]
    assert service.requests["upload"] == 1


async def test_more_changed_files_than_are_remembered_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "REMEMBERED", 2)

    world, service = clips(tmp_path, 20), Service(VirtualClock(), durations=QUICK)
    for path in tmp_path.glob("*.mp4"):
        path.write_bytes(b"changed " + path.name.encode())
    assert (await world.run(service)).counts["done"] == 20
    assert noticed(world) == 20


async def test_an_upload_is_made_again_when_its_time_is_over_and_for_another_key(tmp_path: Path) -> None:
    world = made(tmp_path, [row(f"r{i}", f"https://cdn.example/{i}.mp4") for i in range(3)])
    service = Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=1)
    await asyncio.sleep(3600.0)
    await world.run(service, limit=2, upload_ttl=600.0)
    assert service.requests["upload"] == 2
    with closing(connection.connect(world.settings.db, write=True)) as db:
        db.execute("update uploads set account = 'another key'")
    await world.run(service)
    assert service.requests["upload"] == 3


class Dated(Service):
    """Notes the age of each clip's upload when its submit is accepted."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.put_at: dict[str, float] = {}
        self.ages: list[float] = []

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        self.put_at[presigned_url.replace("/put", "")] = self.clock.monotonic()
        return await super().put_file(presigned_url, path, content_type)

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        answer = await super().create_task(body, ref)
        if answer.code == wire.OK:
            self.ages.append(self.clock.monotonic() - self.put_at[body.input["video_url"]])
        return answer


async def test_no_upload_expires_while_its_row_waits(tmp_path: Path) -> None:
    """A maintenance delays tasks that were prepared long ago."""

    world = made(tmp_path, [row(f"r{i}", f"clip{i}.mp4") for i in range(20)])
    for number in range(20):
        (tmp_path / f"clip{number}.mp4").write_bytes(f"clip {number}".encode())
    closed = (20.0, 7220.0)
    service = Dated(
        VirtualClock(),
        durations=QUICK,
        fault=lambda s, _: "455" if closed[0] <= s.clock.monotonic() < closed[1] else None,
    )
    summary = await world.run(service, upload_ttl=1800.0, in_flight=2)
    assert (summary.counts["done"], len(service.ages)) == (20, 20)
    assert max(service.ages) < 1800.0


def test_uploads_belong_to_a_key_and_those_of_the_local_server_to_all_its_keys() -> None:
    owners = {Account(base, base, key).owner for base in ("https://a", "https://b") for key in ("ak_1", "ak_2")}
    assert len(owners) == 4
    assert not any("ak_" in owner for owner in owners)
    assert {Account("local", f"http://127.0.0.1:{n}", f"ak_{n}").owner for n in range(3)} == {"local"}


async def test_a_file_that_changed_after_its_row_was_enrolled_is_reported_once_and_logged(tmp_path: Path) -> None:
    world = made(tmp_path, [row(f"r{i}", f"https://cdn.example/{i}.mp4") for i in range(5)])
    service = Service(VirtualClock(), durations=QUICK)
    await world.run(service, limit=2)
    assert noticed(world) == 0
    (tmp_path / "anna.jpg").write_bytes(b"somebody else")
    assert (await world.run(service)).counts["done"] == 5
    assert [line for line in world.said if "changed after its row was enrolled" in line] == [
        f"{tmp_path}/anna.jpg changed after its row was enrolled; its new content is used"
    ]
    assert noticed(world) == 3
    assert list(service.uploads.values()) == [b"anna", b"somebody else"]


async def test_a_row_that_is_enrolled_again_accepts_its_changed_file(tmp_path: Path) -> None:
    found = [row("r0", "https://cdn.example/0.mp4")]
    world = made(tmp_path, found)
    (tmp_path / "anna.jpg").write_bytes(b"anna, cut out better")
    take(world, found)
    await world.run(Service(VirtualClock(), durations=QUICK))
    assert noticed(world) == 0


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        ("gone", "input-gone", "anna.jpg: No such file or directory"),
        ("empty", "input-unfit", "anna.jpg is an empty file"),
        ("pipe", "input-unfit", "anna.jpg is not a regular file"),
        ("large", "too-large", "anna.jpg has 101 bytes, more than --max-upload allows (100)"),
    ],
)
async def test_a_file_that_cannot_be_uploaded_fails_its_row_with_a_reason(
    tmp_path: Path, spoil: str, code: str, words: str
) -> None:
    world = made(tmp_path, [row("r0", "https://cdn.example/0.mp4")], max_upload=100)
    face = tmp_path / "anna.jpg"
    face.unlink()
    if spoil == "pipe":
        os.mkfifo(face)
    elif spoil != "gone":
        face.write_bytes(b"" if spoil == "empty" else b"x" * 101)
    service = Service(VirtualClock(), durations=QUICK)
    summary = await world.run(service)
    assert summary.counts["failed"] == 1
    [(found, reason)] = reasons(world)
    assert (found, words in reason) == (code, True), reason
    assert service.requests["upload"] == service.requests["submit"] == 0


class Moody(Service):
    """A store that refuses some uploads, or during whose uploads a file changes."""

    refusals = 0
    spoiled: Path | None = None

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        self.refusals -= 1
        self.put_status = 503 if self.refusals >= 0 else 200
        answer = await super().put_file(presigned_url, path, content_type)
        if self.spoiled is not None:
            self.spoiled.write_bytes(b"changed")
        return answer


async def test_a_retried_upload_has_its_own_place(tmp_path: Path) -> None:
    world = made(tmp_path, [row(f"r{i}", f"https://cdn.example/{i}.mp4") for i in range(4)])
    service = Moody(VirtualClock(), durations=QUICK)
    service.refusals = 2
    summary = await world.run(service)
    assert summary.counts["done"] == 4
    assert (service.requests["upload"], len(service.uploads)) == (3, 1)


async def test_the_uploaded_bytes_are_the_hashed_ones(tmp_path: Path) -> None:
    world = made(tmp_path, [row("r0", "https://cdn.example/0.mp4")])
    service = Moody(VirtualClock(), durations=QUICK)
    service.spoiled = tmp_path / "anna.jpg"
    summary = await world.run(service)
    assert summary.counts["failed"] == 1
    assert "changed while it was uploaded" in reasons(world)[0][1]
    assert service.requests["submit"] == 0


async def test_a_lock_exists_only_while_it_is_needed() -> None:
    locks, seen = Locks(), []

    async def work(name: str, number: int) -> None:
        async with locks.hold(name):
            seen.append(("in", name, number))
            await asyncio.sleep(1.0)
            seen.append(("out", name, number))

    many = [asyncio.create_task(work("ab"[n % 2], n)) for n in range(6)]
    await asyncio.sleep(0.5)
    many[2].cancel()  # waits for a lock
    assert len(locks) == 2
    await asyncio.gather(*many, return_exceptions=True)
    assert len(locks) == 0
    for name, order in (("a", [0, 4]), ("b", [1, 3, 5])):
        mine = [(what, number) for what, of, number in seen if of == name]
        assert mine == [(what, number) for number in order for what in ("in", "out")]


class Outage(Service):
    """A store that fails until a given time, in one of several ways, or forever for some contents."""

    def __init__(self, what: str, until: float, *broken: bytes) -> None:
        super().__init__(VirtualClock(), durations=QUICK)
        self._what, self._until, self._broken = what, until, broken

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        is_away = self.clock.monotonic() < self._until and (not self._broken or path.read_bytes() in self._broken)
        if is_away and self._what == "unsent":
            raise NeverSent("cannot connect (https://store.example)")
        if is_away and self._what == "dropped":
            raise MaybeSent("the connection was lost (https://store.example)")
        self.put_status = int(self._what) if is_away else 200
        return await super().put_file(presigned_url, path, content_type)


def clips(folder: Path, count: int, **settings: object) -> World:
    """Make a world whose targets are files with different contents."""
    for number in range(count):
        (folder / f"{number}.mp4").write_bytes(b"clip %d" % number)
    return made(folder, [row(f"r{number}", f"{number}.mp4") for number in range(count)], **settings)


@pytest.mark.parametrize("what", ["503", "unsent", "dropped"])
async def test_an_outage_of_the_store_is_waited_out(tmp_path: Path, what: str) -> None:
    world, service = clips(tmp_path, 40), Outage(what, 600.0)
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 40)
    assert len([line for line in world.said if "no file can be uploaded" in line]) == 1
    assert service.requests["upload"] < 41 + 16 * 20  # ever less often


async def test_a_long_outage_of_the_store_stops_the_run_and_the_same_command_continues(tmp_path: Path) -> None:
    world, service = clips(tmp_path, 40), Outage("503", 1e9)
    summary = await world.run(service, patience=600.0)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.UNAVAILABLE, 40)
    assert "no file could be uploaded for too long: the upload failed with HTTP status 503" in summary.reason
    assert 600.0 <= asyncio.get_running_loop().time() < 800.0
    assert (await world.run(Service(VirtualClock(), durations=QUICK))).counts["done"] == 40


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("what", ["503", "unsent", "413"])
async def test_a_file_whose_upload_alone_fails_fails_its_row_soon(tmp_path: Path, what: str, count: int) -> None:
    world, service = clips(tmp_path, count), Outage(what, 1e9, b"clip 0")
    summary = await world.run(service)
    assert (summary.counts["failed"], summary.counts["done"]) == (1, count - 1)
    assert reasons(world)[0][0] == "upload-failed"
    assert asyncio.get_running_loop().time() < 60.0 + 2 * count


async def test_files_that_the_store_refuses_one_after_the_other_stop_the_run(tmp_path: Path) -> None:
    world, service = clips(tmp_path, 60), Outage("403", 1e9)
    summary = await world.run(service, ahead=1)
    assert "20 rows in a row failed as upload-failed: nothing more is submitted" in summary.reason
    assert (summary.counts["failed"], summary.counts["queued"]) == (20, 40)


def test_a_file_fails_alone_or_with_the_store() -> None:
    intake = Intake()
    assert intake.failed("a", 10.0) == 10.0
    assert (intake.out_for(20.0), intake.is_news()) == (0.0, False)
    assert intake.failed("b", 20.0) == -inf
    assert (intake.out_for(25.0), intake.is_news(), intake.is_news()) == (15.0, True, False)
    intake.stored(30.0)
    assert intake.out_for(30.0) == 0.0
    intake.failed("a", 40.0)
    assert (intake.failed("b", 41.0), intake.is_news()) == (30.0, True)
    intake.forget("a")
    assert (intake.failed("b", 50.0), intake.out_for(50.0)) == (50.0, 0.0)
