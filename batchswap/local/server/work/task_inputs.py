"""From the URLs of an order to stored contents that an engine has examined."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

from batchswap.errors import EngineError, Refusal
from batchswap.local.server.store.input_store import UPLOAD_PATH, InputStore, clean_suffix
from batchswap.local.server.work.detections import Detections
from batchswap.local.server.work.engine_interface import InputInfo
from batchswap.local.server.work.engine_pool import EnginePool
from batchswap.local.server.work.input_fetcher import CHUNK, Fetcher

FRESH = 60.0
"""Seconds before a URL is fetched again: an estimate and a thousand rows with the same face fetch it once."""
MAX_FRESH = 1000

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class TaskInputs:
    """Gets inputs. Uploads and pictures of this server are recognised by their path, even if its name or port changed.

    `hosts`: names of this server in addition to the loopback names. An upload's path there is never fetched.
    """

    def __init__(
        self, contents: InputStore, detections: Detections, fetcher: Fetcher, engines: EnginePool, hosts: frozenset[str]
    ) -> None:
        self._contents, self._detections, self._fetcher, self._engines = contents, detections, fetcher, engines
        self._hosts = hosts | LOOPBACK
        self._fresh: dict[str, tuple[float, str]] = {}

    def source(self, url: str) -> str:
        """Return a stable identity: of an upload its content, of a picture its face id, else the URL itself."""
        if content := self._find_upload(url):
            return f"sha256:{content[:64]}"
        if picture := self.find_picture(url):
            return f"face:{picture[1]}"
        return url

    def find_picture(self, url: str) -> tuple[str, int, Path] | None:
        """Return (detection, face id, file) of a picture that this server made."""
        return self._detections.picture(urlsplit(url).path)

    async def obtain(self, url: str, field: str) -> str:
        """Store the content of a URL and return its name. Raises Refusal 422 that names `field`."""
        if content := self._find_upload(url) or self._find_fresh(url):
            return content
        parts = urlsplit(url)
        if (parts.hostname or "") in self._hosts and UPLOAD_PATH.fullmatch(parts.path):
            raise Refusal(422, f"{field}: no file was uploaded to this URL")
        try:
            async with aclosing(self._read(url)) as chunks:
                content = await self._contents.keep(chunks, clean_suffix(Path(parts.path).suffix))
        except Refusal as refusal:
            raise Refusal(422, f"{field}: {refusal.message}") from None
        if len(self._fresh) >= MAX_FRESH:
            self._fresh.clear()
        self._fresh[url] = (time.monotonic() + FRESH, content)
        return content

    async def look(self, content: str, culprit: str, field: str) -> InputInfo:
        """Examine a content. Raises Refusal 422 when it cannot be this kind of input."""
        if known := self._contents.find_look(content, culprit):
            return known
        path = self._contents.path(content)
        if path.stat().st_size == 0:
            raise Refusal(422, f"{field}: the file is empty")
        try:
            look = await self._engines.look(path, culprit)
        except EngineError as error:
            raise Refusal(422, f"{field}: {error.message}") from None
        await self._contents.record_look(content, culprit, look)
        return look

    def _read(self, url: str) -> AsyncGenerator[bytes, None]:
        picture = self.find_picture(url)
        return _read_file(picture[2]) if picture else self._fetcher.fetch(url)

    def _find_upload(self, url: str) -> str | None:
        match = UPLOAD_PATH.fullmatch(urlsplit(url).path)
        return self._contents.find_upload(match[1]) if match else None

    def _find_fresh(self, url: str) -> str | None:
        until, content = self._fresh.get(url, (0.0, ""))
        return content if until > time.monotonic() and self._contents.path(content).exists() else None


async def _read_file(path: Path) -> AsyncGenerator[bytes, None]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except FileNotFoundError:
        raise Refusal(422, "the picture of this detection was deleted: detect the faces again") from None
