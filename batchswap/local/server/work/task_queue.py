"""Accepted tasks are worked off, in their order, until each has ended."""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable

import msgspec

from batchswap import wire
from batchswap.clock import Clock
from batchswap.errors import EngineError
from batchswap.local.faults import Fault, Moment, Schedule
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.store.input_store import Contents, make_folder
from batchswap.local.server.store.task_store import StoredTask, TaskStore
from batchswap.local.server.work.callbacks import Callbacks
from batchswap.local.server.work.engine_interface import FACE, IMAGE, VIDEO, Swap
from batchswap.local.server.work.worker_pool import EnginePool

log = logging.getLogger(__name__)


class Production:
    """Which tasks run is known in memory only: after a crash all that have not ended are begun again."""

    def __init__(
        self, settings: ServerSettings, records: TaskStore, contents: Contents, engines: EnginePool, *,
        callbacks: Callbacks, schedule: Schedule, clock: Clock,
    ) -> None:  # fmt: skip
        self.folder = make_folder(settings.folder / "results")
        for part in self.folder.glob("part-*"):
            part.unlink()
        self._limit, self._records, self._contents, self._engines = settings.max_running, records, contents, engines
        self._callbacks, self.schedule, self._clock = callbacks, schedule, clock
        self._running: set[str] = set()
        self._reached = 0
        self._called = asyncio.Event()

    def call(self) -> None:
        """There is a new task."""
        self._called.set()

    def status(self, record: StoredTask) -> str:
        """What TaskInfo tells."""
        return wire.RUNNING if record.complete_at is None and record.id in self._running else record.status

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Starts what there is room for, for ever."""
        while True:
            self._called.clear()
            if room := self._limit - len(self._running):
                for record in self._records.find_open(self._reached, room):
                    self._reached = record.seq
                    self._running.add(record.id)
                    group.create_task(self._see_through(record))
            await self._called.wait()

    async def _see_through(self, record: StoredTask) -> None:
        try:
            await self._try(record)
        except (OSError, sqlite3.Error):  # a full disk, mostly: the next start takes it up again
            log.exception("task %s could not be ended", record.id)
        finally:
            self._running.discard(record.id)
            self._called.set()

    async def _try(self, record: StoredTask) -> None:
        try:
            await self._play_fault()
            remark = await self._swap(record)
        except EngineError as error:
            message = f"{_field(record, error.culprit)}{error.message}"
            await self._records.end(record.id, wire.FAILED, wire.GENERATION_FAILED, message, self._clock.now())
        else:
            await self._records.end(record.id, wire.SUCCESS, wire.OK, remark, self._clock.now())
        if record.callback_url:
            self._callbacks.call()

    async def _play_fault(self) -> None:
        fault = self.schedule.draw(Moment.WORK)
        if fault is not None and fault.kind is Fault.SLOW:
            await self._clock.sleep(self.schedule.draw_seconds(fault))
        elif fault is not None and fault.kind is Fault.FAILED:
            raise EngineError("", "generation failed (a rehearsed fault)")

    async def _swap(self, record: StoredTask) -> str:
        target = self._contents.path(record.target)
        faces = tuple((face_id, self._contents.path(content)) for face_id, content in record.faces)
        missing = [path for path in (target, *(face for _, face in faces)) if not path.exists()]
        if missing:
            raise EngineError("", "an uploaded input is gone from the server's folder")
        part = self.folder / f"part-{secrets.token_hex(8)}{record.suffix}"
        swap = Swap(target, part, faces, record.id, self._engines.threads)
        culprit = VIDEO if record.suffix == ".mp4" else IMAGE
        return await self._engines.produce(swap, self.folder / record.file, culprit)


def _field(record: StoredTask, culprit: str) -> str:
    """The input's name in the request, so that the message says whose fault it is."""
    multi = record.faces[0][0] is not None
    names = {VIDEO: "video_url", IMAGE: "image_url", FACE: "faces" if multi else "new_face"}
    return f"input.{names[culprit]}: " if culprit in names else ""


def task_info(record: StoredTask, status: str, media_url: Callable[[], str]) -> wire.TaskInfo:
    """As the API tells it. `credits` is what the task was charged when it was accepted; nothing is paid back."""
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
