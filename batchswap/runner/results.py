"""Where results go: the downloads' room, bound to --out."""

import os
from pathlib import Path

from batchswap.downloads import Downloader, Kind, Place, Verified, is_published, publish


class Results:
    """Results below one folder."""

    def __init__(self, out: Path, downloader: Downloader) -> None:
        self._out, self._downloader = out, downloader

    async def fetch(self, url: str, output: str, *, kind: Kind, tries: int, remote_id: str) -> Verified:
        """Download and check; the result then stands as a part beside its final place. Raises DownloadError."""
        place = Place(self._out, output)
        return await self._downloader.fetch(url, place, kind=kind, attempt=tries, remote_id=remote_id)

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        """Give the part its final name. `replaces`: SHA-256 of the task's own earlier file. Raises DownloadError."""
        await publish(Place(self._out, output), part, replaces=replaces, filing=self._downloader.filing)

    async def holds(self, output: str, sha256: str) -> bool:
        """Whether this very file stands under the final name. Raises DownloadError."""
        return await is_published(Place(self._out, output), sha256)

    def taken(self, output: str) -> bool:
        """Whether something stands under the final name."""
        return os.path.lexists(f"{self._out}/{output}")

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
