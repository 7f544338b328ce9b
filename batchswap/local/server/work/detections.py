"""Faces found in a target: asked for, worked on, remembered for as long as the API says (api.md, "Endpoints")."""

import asyncio
import logging
import secrets
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from batchswap import wire
from batchswap.clock import Clock
from batchswap.errors import EngineError, Refusal
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.store.database import Journal
from batchswap.local.server.store.input_store import Contents, make_folder
from batchswap.local.server.work.engine_interface import IMAGE, VIDEO
from batchswap.local.server.work.worker_pool import EnginePool

log = logging.getLogger(__name__)

PROCESSING, SUCCEEDED, FAILED = "processing", "succeeded", "failed"


class StoredDetection(msgspec.Struct, frozen=True):
    """One detection as it is on the disk. `pictures` maps face ids to files; `source` is what its URL stood for."""

    seq: int
    id: str
    detect_id: str | None
    kind: str
    source: str
    content: str
    status: str
    pictures: tuple[tuple[int, str], ...]
    error: str
    complete_at: float | None


COLUMNS = ", ".join(StoredDetection.__struct_fields__)


class Detections:
    """The table `detections` and the folder `faces/`."""

    def __init__(
        self, settings: ServerSettings, journal: Journal, contents: Contents, engines: EnginePool, clock: Clock
    ) -> None:
        self.folder = make_folder(settings.folder / "faces")
        self._ttl, self._journal, self._contents = settings.detection_ttl, journal, contents
        self._engines, self._clock = engines, clock
        self._reached = 0
        self._called = asyncio.Event()

    async def accept(self, kind: str, source: str, content: str) -> str:
        """The id of a new detection. Free of charge, so it may be done again after a crash."""
        detect_task_id = secrets.token_hex(16)
        sql = "INSERT INTO detections (id, kind, source, content, status, create_at) VALUES (?, ?, ?, ?, ?, ?)"
        values = (detect_task_id, kind, source, content, PROCESSING, self._clock.now())
        await self._journal.write(lambda db: db.execute(sql, values))
        self._called.set()
        return detect_task_id

    def find(self, detect_task_id: str) -> StoredDetection | None:
        return self._find("id = ?", detect_task_id)

    def find_usable(self, detect_id: str, source: str) -> StoredDetection:
        """The detection that a multi-face task refers to. Raises Refusal 422."""
        found = self._find("detect_id = ?", detect_id)
        if found is None or found.complete_at is None:
            raise Refusal(422, "input.detect_id: there is no such detection")
        if found.complete_at + self._ttl <= self._clock.now():
            raise Refusal(422, "input.detect_id: has expired, detect again")
        if found.source != source:
            raise Refusal(422, "input.detect_id: belongs to another media URL")
        return found

    def picture(self, url_path: str) -> tuple[str, int, Path] | None:
        """(detection, face id, file) of `/faces/<detection>/<name>`; None when there is no such picture."""
        parts = url_path.split("/")
        if len(parts) != 4 or parts[1] != "faces" or (found := self.find(parts[2])) is None:
            return None
        names = {name: face_id for face_id, name in found.pictures}
        return (found.id, names[parts[3]], self.folder / found.id / parts[3]) if parts[3] in names else None

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Begins each one, those first that an earlier process left, for ever."""
        while True:
            self._called.clear()
            for detection in self._select("complete_at IS NULL AND seq > ? ORDER BY seq", self._reached):
                self._reached = detection.seq
                group.create_task(self._see_through(detection))
            await self._called.wait()

    async def _see_through(self, detection: StoredDetection) -> None:
        try:
            await self._detect(detection)
        except (OSError, sqlite3.Error):  # a full disk, mostly: the next start takes it up again
            log.exception("detection %s could not be ended", detection.id)

    async def _detect(self, detection: StoredDetection) -> None:
        folder = make_folder(self.folder / detection.id)
        path = self._contents.path(detection.content)
        culprit = VIDEO if detection.kind == VIDEO else IMAGE
        try:
            found = await self._engines.detect(path, folder, culprit)
        except EngineError as error:
            await self._end(detection.id, FAILED, None, (), error.message)
        else:
            pictures = tuple((face_id, picture.name) for face_id, picture in found)
            await self._end(detection.id, SUCCEEDED, secrets.token_hex(16), pictures, "")

    async def _end(
        self, detect_task_id: str, status: str, detect_id: str | None, pictures: tuple[tuple[int, str], ...], error: str
    ) -> None:
        sql = "UPDATE detections SET status=?, detect_id=?, pictures=?, error=?, complete_at=? WHERE id=?"
        values = (status, detect_id, msgspec.json.encode(pictures), error, self._clock.now(), detect_task_id)
        await self._journal.write(lambda db: db.execute(sql, values))

    def _find(self, where: str, value: str) -> StoredDetection | None:
        return next(iter(self._select(where, value)), None)

    def _select(self, where: str, *values: str | int) -> list[StoredDetection]:
        rows = self._journal.read(f"SELECT {COLUMNS} FROM detections WHERE {where}", *values)  # noqa: S608
        return [_detection({name: row[name] for name in StoredDetection.__struct_fields__}) for row in rows]


def describe(detection: StoredDetection, base_url: str) -> wire.Detection:
    """As the API tells it."""
    faces = (
        wire.DetectedFace(face_id, f"{base_url}/faces/{detection.id}/{name}") for face_id, name in detection.pictures
    )
    return wire.Detection(detection.id, detection.status, detection.detect_id, tuple(faces), detection.error)


def _detection(fields: dict[str, Any]) -> StoredDetection:
    return msgspec.convert({**fields, "pictures": msgspec.json.decode(fields["pictures"])}, StoredDetection)
