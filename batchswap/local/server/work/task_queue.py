"""Runs accepted tasks in their order, until each has ended."""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable

import msgspec

from batchswap import wire
from batchswap.clock import Clock
from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob
from batchswap.local.faults import Fault, Moment, Schedule
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.store.input_store import InputStore, make_folder
from batchswap.local.server.store.task_store import StoredTask, TaskStore
from batchswap.local.server.work.callbacks import Callbacks
from batchswap.local.server.work.engine_interface import FACE, IMAGE, VIDEO
from batchswap.local.server.work.engine_pool import EnginePool

log = logging.getLogger(__name__)


class TaskQueue:
    """The tasks that have not ended. Only memory knows which are running: after a crash, all of them start again."""

    def __init__(
        self, settings: ServerSettings, records: TaskStore, contents: InputStore, engines: EnginePool, *,
        callbacks: Callbacks, schedule: Schedule, clock: Clock,
    ) -> None:  # fmt: skip
        self.folder = make_folder(settings.folder / "results")
        for part in self.folder.glob("part-*"):
            part.unlink()
        self._limit, self._records, self._contents, self._engines = settings.max_running, records, contents, engines
        self._callbacks, self.schedule, self._clock = callbacks, schedule, clock
        self._running: set[str] = set()
        self._last_started = 0
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for new tasks."""
        self._woken.set()

    def status(self, record: StoredTask) -> str:
        """Return the status for TaskInfo."""
        return wire.RUNNING if record.complete_at is None and record.id in self._running else record.status

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Start tasks as long as there is room, until cancelled."""
        while True:
            self._woken.clear()
            if room := self._limit - len(self._running):
                for record in self._records.find_open(self._last_started, room):
                    self._last_started = record.seq
                    self._running.add(record.id)
                    group.create_task(self._run(record))
            await self._woken.wait()

    async def _run(self, record: StoredTask) -> None:
        try:
            await self._swap_and_record(record)
        except (OSError, sqlite3.Error):  # usually a full disk
            log.exception("task %s failed: it runs again after a restart", record.id)
        finally:
            self._running.discard(record.id)
            self._woken.set()

    async def _swap_and_record(self, record: StoredTask) -> None:
        try:
            await self._simulate_fault()
            remark = await self._swap(record)
        except EngineError as error:
            message = f"{_field(record, error.culprit)}{error.message}"
            await self._records.end(record.id, wire.FAILED, wire.GENERATION_FAILED, message, self._clock.now())
        else:
            await self._records.end(record.id, wire.SUCCESS, wire.OK, remark, self._clock.now())
        if record.callback_url:
            self._callbacks.wake()

    async def _simulate_fault(self) -> None:
        fault = self.schedule.draw(Moment.WORK)
        if fault is not None and fault.kind is Fault.SLOW:
            await self._clock.sleep(self.schedule.draw_seconds(fault))
        elif fault is not None and fault.kind is Fault.FAILED:
            raise EngineError("", "generation failed (simulated fault)")

    async def _swap(self, record: StoredTask) -> str:
        target = self._contents.path(record.target)
        faces = tuple((face_id, self._contents.path(content)) for face_id, content in record.faces)
        missing = [path for path in (target, *(face for _, face in faces)) if not path.exists()]
        if missing:
            raise EngineError("", "an uploaded input was deleted from the server's folder: upload it again")
        part = self.folder / f"part-{secrets.token_hex(8)}{record.suffix}"
        job = SwapJob(target, part, faces, record.id, self._engines.threads)
        culprit = VIDEO if record.suffix == ".mp4" else IMAGE
        return await self._engines.produce(job, self.folder / record.file, culprit)


def _field(record: StoredTask, culprit: str) -> str:
    """Return the name of the input in the request, as a prefix for a message."""
    multi = record.faces[0][0] is not None
    names = {VIDEO: "video_url", IMAGE: "image_url", FACE: "faces" if multi else "new_face"}
    return f"input.{names[culprit]}: " if culprit in names else ""


def task_info(record: StoredTask, status: str, media_url: Callable[[], str]) -> wire.TaskInfo:
    """Return the API's view of a task. `credits` is its charge on acceptance, which is never refunded."""
    ended = record.complete_at
    result = None
    if ended is not None:
        urls = (media_url(),) if status == wire.SUCCESS else ()
        result = wire.Result(record.code, record.message, urls)
    return wire.TaskInfo(
        task_id=record.id,
        status=status,
        param=msgspec.Raw(record.param),
        create_at=int(record.create_at),
        complete_at=None if ended is None else int(ended),
        duration_s=None if ended is None else round(ended - record.create_at, 3),
        credits=record.credits,
        result=result,
        provider="local",
        model_version="mesh-warp",
        source="api",
    )
