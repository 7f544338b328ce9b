"""Where results go: the downloads' room, bound to --out."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from batchswap.downloads import Downloader, Place, Trial, Verified, is_published, publish, try_out
from batchswap.tasks import MediaKind


class Results:
    """Results below one folder."""

    def __init__(self, out: Path, downloader: Downloader) -> None:
        self._out, self._downloader = out, downloader
        self._traits = Trial().traits

    async def try_out(self, outputs: Iterable[str]) -> Trial:
        """Find out what the folder can do and whether it takes these names. What it lacks is heeded from now on."""
        trial = await asyncio.to_thread(try_out, self._out, outputs)
        self._traits = trial.traits
        return trial

    def _place(self, output: str) -> Place:
        return Place(self._out, output, self._traits)

    async def fetch(self, url: str, output: str, *, kind: MediaKind, tries: int, remote_id: str) -> Verified:
        """Download and check; the result then stands as a part beside its final place. Raises DownloadError."""
        return await self._downloader.fetch(url, self._place(output), kind=kind, attempt=tries, remote_id=remote_id)

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        """Give the part its final name. `replaces`: SHA-256 of the task's own earlier file. Raises DownloadError."""
        await publish(self._place(output), part, replaces=replaces, filing=self._downloader.filing)

    async def holds(self, output: str, sha256: str) -> bool:
        """Whether this very file stands under the final name. Raises DownloadError."""
        return await is_published(self._place(output), sha256)

    def taken(self, output: str) -> bool:
        """Whether something stands under the final name."""
        return os.path.lexists(f"{self._out}/{output}")

    def obstacle(self, output: str) -> str:
        """Return why nothing can be stored in the output's folder; "" when it can, as far as can be seen."""
        folder = (self._out / output).parent
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is not a folder"
        return "" if os.access(folder, os.W_OK | os.X_OK) else f"nothing can be written to {folder}"

    def is_writable(self) -> bool:
        """Whether this user may make something where results go."""
        folder = self._standing()
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)

    def free(self) -> int:
        """Bytes free where results go, for this user."""
        found = os.statvfs(self._standing())
        return found.f_bavail * found.f_frsize

    def _standing(self) -> Path:
        """The folder, or while it is not made yet the nearest one above it."""
        folder = self._out
        while not os.path.lexists(folder):
            folder = folder.parent
        return folder
