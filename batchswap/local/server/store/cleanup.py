"""What was kept long enough is deleted: inputs, results and pictures. What tasks did, and cost, stays on record."""

import asyncio
import shutil
from pathlib import Path

import msgspec

from batchswap.clock import Clock
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.store.database import Journal
from batchswap.local.server.store.input_store import Contents

PAUSE = 3600.0


class Sweeping:
    """Age counts from a file's last modification, so a repeated upload is kept for another period."""

    def __init__(self, settings: ServerSettings, journal: Journal, contents: Contents, clock: Clock) -> None:
        self._settings, self._journal, self._contents, self._clock = settings, journal, contents, clock

    async def work(self, group: asyncio.TaskGroup) -> None:
        """At the start and once an hour, for ever."""
        while True:
            await asyncio.to_thread(self._sweep, self._find_needed(), self._clock.now() - self._settings.keep)
            await self._clock.sleep(PAUSE)

    def _find_needed(self) -> set[str]:
        """The inputs of everything that is still to be worked on."""
        tasks = self._journal.read("SELECT target, faces FROM tasks WHERE complete_at IS NULL")
        detections = self._journal.read("SELECT content FROM detections WHERE complete_at IS NULL")
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
    except FileNotFoundError:  # a part that has just got its final name
        return
