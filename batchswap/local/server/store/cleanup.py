"""Deletes old inputs, results and pictures. The records of tasks and their prices stay."""

import asyncio
import shutil
from pathlib import Path

import msgspec

from batchswap.clock import Clock
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.store.database import Database
from batchswap.local.server.store.input_store import InputStore

PAUSE = 3600.0


class Cleanup:
    """Deletes files by their last modification. A repeated upload is therefore kept for another period."""

    def __init__(self, settings: ServerSettings, database: Database, contents: InputStore, clock: Clock) -> None:
        self._settings, self._database, self._contents, self._clock = settings, database, contents, clock

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Clean up at the start and then once an hour."""
        while True:
            await asyncio.to_thread(self._sweep, self._find_needed(), self._clock.now() - self._settings.keep)
            await self._clock.sleep(PAUSE)

    def _find_needed(self) -> set[str]:
        """Return the inputs of all tasks and detections that have not ended."""
        tasks = self._database.read("SELECT target, faces FROM tasks WHERE complete_at IS NULL")
        detections = self._database.read("SELECT content FROM detections WHERE complete_at IS NULL")
        faces = (content for row in tasks for _, content in msgspec.json.decode(row["faces"]))
        return {*(row["target"] for row in tasks), *faces, *(row["content"] for row in detections)}

    def _sweep(self, needed: set[str], before: float) -> None:
        folder = self._settings.folder
        for path in self._contents.folder.iterdir():
            if path.name not in needed:
                _delete(path, before)
        for path in (*(folder / "results").iterdir(), *(folder / "faces").iterdir()):
            _delete(path, before)


def _delete(path: Path, before: float) -> None:
    try:
        if path.stat().st_mtime >= before:
            return
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:  # a part that was just renamed
        return
