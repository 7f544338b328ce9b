"""Find out whether a target shows a face: each content once, from the cache or with the engine."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from batchswap.downloads import Downloader, Place, is_on_private_address
from batchswap.errors import DownloadError, EngineError
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.local import engine
from batchswap.local.engine import FaceSurvey
from batchswap.network import DIRECT, Routes
from batchswap.preflight.faces.cache import FaceCache, cache_folder
from batchswap.preflight.faces.pool import LookPool, NotExamined
from batchswap.tasks import MediaKind

REMEMBERED = 10_000
"""Most contents to remember in memory, for when there is no cache."""
FETCHES = 4
"""Downloads at the same time."""


class FaceSearch:
    """A context manager. It closes `looks`, which may also run other calls of the engine."""

    def __init__(self, looks: LookPool, *, fetch: int = 0, base_url: str = "", routes: Routes = DIRECT) -> None:
        """`fetch`: the most bytes of a target that is a URL; 0: it is not downloaded.

        `base_url`: of the provider. If it is on a private address, so may be the targets.
        """
        self._looks, self._fetch, self._base_url, self._routes = looks, fetch, base_url, routes
        self._cache = FaceCache(cache_folder())
        self._known: dict[tuple[str, MediaKind], asyncio.Task[FaceSurvey]] = {}
        self._stack = AsyncExitStack()
        self._site: tuple[Downloader, Path] | None = None
        self._opening, self._fetches, self._number = asyncio.Lock(), asyncio.Semaphore(FETCHES), 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the processes, and remove what was downloaded."""
        looks = [each for each in self._known.values() if not each.done()]
        for each in looks:
            each.cancel()
        await self._looks.close()
        await asyncio.gather(*looks, return_exceptions=True)
        await self._stack.aclose()
        self._cache.close()

    @property
    def fetches(self) -> bool:
        """Whether URLs are downloaded."""
        return self._fetch > 0

    async def look_at_file(self, path: Path, kind: MediaKind, sha256: str = "") -> FaceSurvey:
        """Return the survey of a file. `sha256`: its hash, if it is known. Raise NotExamined."""
        try:
            before = _state(path)
            sha256 = sha256 or await asyncio.to_thread(hash_file, path)
            survey = await self._of_content(sha256, path, kind)
            if _state(path) != before:
                raise NotExamined("it changed meanwhile")
        except OSError as error:
            raise NotExamined(error.strerror or type(error).__name__) from None
        return survey

    async def look_at_url(self, url: str, kind: MediaKind) -> FaceSurvey:
        """Download a target to a temporary folder, and return its survey. Raise NotExamined."""
        try:
            async with self._fetches, self._fetched(url, kind) as path:
                return await self.look_at_file(path, kind)
        except OSError as error:
            raise NotExamined(f"it cannot be stored: {error.strerror or type(error).__name__}") from None

    async def _of_content(self, sha256: str, path: Path, kind: MediaKind) -> FaceSurvey:
        """Return the survey of a content, which is examined once, even if that fails."""
        key = sha256, kind
        look = self._known.get(key)
        if look is None:
            if len(self._known) >= REMEMBERED:
                self._known = {key: each for key, each in self._known.items() if not each.done()}
            look = self._known[key] = asyncio.ensure_future(self._examine(sha256, path, kind))
            look.add_done_callback(_note_error)
        return await asyncio.shield(look)

    async def _examine(self, sha256: str, path: Path, kind: MediaKind) -> FaceSurvey:
        if (known := self._cache.find(sha256, kind)) is not None:
            return known
        before = _state(path)
        try:
            survey = await self._looks.run(engine.survey_faces, path, kind, 1)
        except EngineError as error:
            raise NotExamined(error.message) from None
        if _state(path) == before:
            self._cache.keep(sha256, kind, survey)
        return survey

    @asynccontextmanager
    async def _fetched(self, url: str, kind: MediaKind) -> AsyncIterator[Path]:
        downloader, folder = await self._opened()
        self._number += 1
        place = Place(folder, f"{self._number}.{kind}")
        try:
            await downloader.fetch(url, place, kind=kind)
            yield folder / place.part
        except DownloadError as error:
            large, other = f"it is larger than {self._fetch:,} bytes", f"it cannot be downloaded ({error.reason})"
            raise NotExamined(large if error.reason == "too-large" else other) from None
        finally:
            for name in (place.part, place.note):
                (folder / name).unlink(missing_ok=True)

    async def _opened(self) -> tuple[Downloader, Path]:
        async with self._opening:
            return self._site or await self._open()

    async def _open(self) -> tuple[Downloader, Path]:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="batchswap-", ignore_cleanup_errors=True))
        private = await is_on_private_address(self._base_url, self._routes)
        downloader = Downloader(
            allow_private=private, routes=self._routes, largest=self._fetch, connect=10.0, stall=20.0
        )
        self._site = await self._stack.enter_async_context(downloader), Path(folder)
        return self._site


def _note_error(look: asyncio.Task[FaceSurvey]) -> None:
    """Keep asyncio from reporting the error of a look whose waiters were cancelled."""
    if not look.cancelled():
        look.exception()


def _state(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)  # noqa: PTH116 - follows links, like the engine
    return found.st_ino, found.st_size, found.st_mtime_ns
