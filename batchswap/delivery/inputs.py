"""The inputs of a task as files: local ones as they are, and the contents of URLs, each downloaded once."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec

from batchswap.downloads import Downloader, Place
from batchswap.errors import DownloadError
from batchswap.network import DIRECT, Routes
from batchswap.tasks import MediaKind

LARGEST = 500_000_000
"""Largest size in bytes of an input that is downloaded."""
KEPT = 2_000_000_000
"""Bytes of downloaded inputs that are kept for other tasks."""
AT_ONCE = 2
CONNECT, STALL = 10.0, 20.0
"""Longest times in seconds for a connection, and for the next 64 KiB."""


class Fetched(msgspec.Struct):
    """A download: its file, or the reason why there is none. `users` counts the examinations that read it."""

    file: Path | None = None
    size: int = 0
    problem: str = ""
    users: int = 0
    is_over: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class InputFiles:
    """Downloads inputs to a temporary folder, without a key and without credentials. Close it after use.

    `allow_private`: allow addresses that are not public, because the API has one. `min_free`: bytes that must stay free
    on the disk.
    """

    def __init__(self, *, allow_private: bool, min_free: int, routes: Routes = DIRECT) -> None:
        self._allow_private, self._min_free, self._routes = allow_private, min_free, routes
        self._fetched: dict[str, Fetched] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._stack = AsyncExitStack()
        self._folder: Path | None = None
        self._downloader: Downloader | None = None

    @asynccontextmanager
    async def use(self, url: str, kind: MediaKind) -> AsyncIterator[tuple[Path | None, str]]:
        """Yield the file with the content of a URL, or None and the reason. It exists until the context ends."""
        known = self._fetched.get(url)
        if known is None:
            known = self._fetched[url] = Fetched()
            known.users = 1
            try:
                await self._fetch(url, kind, known)
            except BaseException:
                del self._fetched[url]
                raise
            finally:
                known.is_over.set()
        else:
            known.users += 1
        try:
            await known.is_over.wait()
            yield known.file, known.problem
        finally:
            known.users -= 1
            self._shrink()

    async def _fetch(self, url: str, kind: MediaKind, into: Fetched) -> None:
        async with self._places:
            try:
                folder, downloader = await self._begin()
                if shutil.disk_usage(folder).free < self._min_free + LARGEST:
                    into.problem = "there is too little disk space to download it"
                    return
                place = Place(folder, hashlib.sha256(url.encode()).hexdigest())
                found = await downloader.fetch(url, place, kind=kind)
                into.file, into.size = folder / place.part, found.size
            except DownloadError as error:
                too_large = f"it is larger than {LARGEST:,} bytes"
                into.problem = too_large if error.reason == "too-large" else f"it cannot be downloaded ({error.reason})"
            except OSError as error:
                into.problem = f"it cannot be stored ({error.strerror})"

    async def _begin(self) -> tuple[Path, Downloader]:
        if self._folder is None or self._downloader is None:
            made = tempfile.TemporaryDirectory(prefix="batchswap-", ignore_cleanup_errors=True)
            self._folder = Path(self._stack.enter_context(made))
            client = Downloader(
                allow_private=self._allow_private, routes=self._routes, largest=LARGEST, connect=CONNECT, stall=STALL
            )
            self._downloader = await self._stack.enter_async_context(client)
        return self._folder, self._downloader

    def _shrink(self) -> None:
        """Remove the files that were downloaded first until the rest fits, except those in use."""
        total = sum(each.size for each in self._fetched.values())
        for url, each in list(self._fetched.items()):
            if total <= KEPT:
                return
            if each.file is not None and not each.users:
                with suppress(OSError):
                    each.file.unlink(missing_ok=True)
                total -= each.size
                del self._fetched[url]

    async def close(self) -> None:
        """Remove the downloaded files."""
        await self._stack.aclose()
