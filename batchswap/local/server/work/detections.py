"""Face detections in targets: requests, background jobs, and results with a lifetime (api.md, "Endpoints")."""

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
from batchswap.local.server.store.database import Database
from batchswap.local.server.store.input_store import InputStore, make_folder
from batchswap.local.server.work.engine_pool import EnginePool

log = logging.getLogger(__name__)

PROCESSING, SUCCEEDED, FAILED = "processing", "succeeded", "failed"


class StoredDetection(msgspec.Struct, frozen=True):
    """One detection on the disk. `pictures` maps face ids to files; `source` identifies the media URL's content."""

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
        self, settings: ServerSettings, database: Database, contents: InputStore, engines: EnginePool, clock: Clock
    ) -> None:
        self.folder = make_folder(settings.folder / "faces")
        self._ttl, self._database, self._contents = settings.detection_ttl, database, contents
        self._engines, self._clock = engines, clock
        self._last_started = 0
        self._woken = asyncio.Event()

    async def accept(self, kind: str, source: str, content: str) -> str:
        """Start a detection and return its id. It is free, so it may run again after a crash."""
        detect_task_id = secrets.token_hex(16)
        sql = "INSERT INTO detections (id, kind, source, content, status, create_at) VALUES (?, ?, ?, ?, ?, ?)"
        values = (detect_task_id, kind, source, content, PROCESSING, self._clock.now())
        await self._database.write(lambda db: db.execute(sql, values))
        self._woken.set()
        return detect_task_id

    def find(self, detect_task_id: str) -> StoredDetection | None:
        return self._find("id = ?", detect_task_id)

    def find_usable(self, detect_id: str, source: str) -> StoredDetection:
        """Return the detection for a multi-face task. Raises Refusal 422."""
        found = self._find("detect_id = ?", detect_id)
        if found is None or found.complete_at is None:
            raise Refusal(422, "input.detect_id: there is no such detection")
        if found.complete_at + self._ttl <= self._clock.now():
            raise Refusal(422, "input.detect_id: has expired: detect the faces again")
        if found.source != source:
            raise Refusal(422, "input.detect_id: belongs to another media URL")
        return found

    def picture(self, url_path: str) -> tuple[str, int, Path] | None:
        """Return (detection, face id, file) of `/faces/<detection>/<name>`, or None if there is no such picture."""
        parts = url_path.split("/")
        if len(parts) != 4 or parts[1] != "faces" or (found := self.find(parts[2])) is None:
            return None
        names = {name: face_id for face_id, name in found.pictures}
        return (found.id, names[parts[3]], self.folder / found.id / parts[3]) if parts[3] in names else None

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Run every detection, first those that an earlier process left, until cancelled."""
        while True:
            self._woken.clear()
            for detection in self._select("complete_at IS NULL AND seq > ? ORDER BY seq", self._last_started):
                self._last_started = detection.seq
                group.create_task(self._run(detection))
            await self._woken.wait()

    async def _run(self, detection: StoredDetection) -> None:
        try:
            await self._detect(detection)
        except (OSError, sqlite3.Error):  # usually a full disk
            log.exception("detection %s failed: it runs again after a restart", detection.id)

    async def _detect(self, detection: StoredDetection) -> None:
        folder = make_folder(self.folder / detection.id)
        path = self._contents.path(detection.content)
        try:
            found = await self._engines.detect(path, folder, detection.kind)
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
        await self._database.write(lambda db: db.execute(sql, values))

    def _find(self, where: str, value: str) -> StoredDetection | None:
        return next(iter(self._select(where, value)), None)

    def _select(self, where: str, *values: str | int) -> list[StoredDetection]:
        rows = self._database.read(f"SELECT {COLUMNS} FROM detections WHERE {where}", *values)  # noqa: S608
        return [_record(row) for row in rows]


def describe(detection: StoredDetection, base_url: str) -> wire.Detection:
    """Return the API's view of a detection."""
    faces = (
        wire.DetectedFace(face_id, f"{base_url}/faces/{detection.id}/{name}") for face_id, name in detection.pictures
    )
    return wire.Detection(detection.id, detection.status, detection.detect_id, tuple(faces), detection.error)


def _record(row: sqlite3.Row) -> StoredDetection:
    fields: dict[str, Any] = {name: row[name] for name in StoredDetection.__struct_fields__}
    return msgspec.convert({**fields, "pictures": msgspec.json.decode(fields["pictures"])}, StoredDetection)
