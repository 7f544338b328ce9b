"""What the engine does, done in worker processes. Raises EngineError, whatever goes wrong with a process too."""

import os
from pathlib import Path

from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.work.engine_interface import Engine, Look, Swap, produce
from batchswap.local.server.work.worker_pool import Workers

LOOK_SECONDS = 120.0


class Workshop:
    """Processes that swap and detect, and one that looks at inputs, or CreateTask would wait for swaps."""

    def __init__(self, settings: ServerSettings, engine: Engine) -> None:
        self._engine, self._limit = engine, settings.task_timeout
        count = settings.count_workers()
        log = settings.folder / "workers.log"
        self._workers, self._lookers = Workers(count, log), Workers(1, log)
        self.threads = max(1, len(os.sched_getaffinity(0)) // count)

    async def look(self, path: Path, culprit: str) -> Look:
        return await self._lookers.run(self._engine.look, path, culprit, culprit=culprit, limit=LOOK_SECONDS)

    async def detect(self, path: Path, folder: Path, culprit: str) -> tuple[tuple[int, Path], ...]:
        """Before all swaps that wait: a person, or a whole pipeline, waits for it."""
        return await self._workers.run(
            self._engine.detect, path, folder, self.threads, culprit=culprit, limit=self._limit, urgent=True
        )

    async def produce(self, swap: Swap, result: Path, culprit: str) -> str:
        """The engine's remark; `result` is complete and on the disk."""
        return await self._workers.run(produce, self._engine, swap, result, culprit=culprit, limit=self._limit)

    async def close(self) -> None:
        """Ends all processes at once."""
        await self._workers.close()
        await self._lookers.close()
