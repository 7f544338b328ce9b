"""The processes of the server: some that swap and detect, and one that examines inputs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.work.engine_interface import Engine, InputInfo, produce
from batchswap.workers.worker_pool import CallFailed, Workers

LOOK_SECONDS = 120.0


@contextmanager
def _blaming(culprit: str) -> Iterator[None]:
    """Raise EngineError for a call that failed."""
    try:
        yield
    except CallFailed as error:
        raise EngineError(culprit, str(error)) from None


class EnginePool:
    """Processes that swap and detect, and one that examines inputs, so that CreateTask never waits for swaps."""

    def __init__(self, settings: ServerSettings, engine: Engine) -> None:
        self._engine, self._limit = engine, settings.task_timeout
        count = settings.count_workers()
        log = settings.folder / "workers.log"
        self._workers, self._examiner = Workers(count, log), Workers(1, log)
        self.threads = max(1, len(os.sched_getaffinity(0)) // count)

    async def look(self, path: Path, culprit: str) -> InputInfo:
        with _blaming(culprit):
            return await self._examiner.run(self._engine.look, path, culprit, limit=LOOK_SECONDS)

    async def detect(self, path: Path, folder: Path, culprit: str) -> tuple[tuple[int, Path], ...]:
        """Detect faces before all waiting swaps, because the caller waits for the result."""
        with _blaming(culprit):
            return await self._workers.run(
                self._engine.detect, path, folder, self.threads, limit=self._limit, urgent=True
            )

    async def produce(self, job: SwapJob, result: Path, culprit: str) -> str:
        """Return the engine's remark when `result` is complete and on the disk."""
        with _blaming(culprit):
            return await self._workers.run(produce, self._engine, job, result, limit=self._limit)

    async def close(self) -> None:
        """Kill all processes."""
        await self._workers.close()
        await self._examiner.close()
