"""Download one result: only the missing bytes, with at most one restart. Nothing here costs credits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiolimiter import AsyncLimiter
from yarl import URL

from batchswap.downloads.address_guard import SocketFactory, check_name, public_socket
from batchswap.downloads.content_encoding import Decoder
from batchswap.downloads.fsync_batch import Filing, to_its_end
from batchswap.downloads.output_paths import Place
from batchswap.downloads.part_file import PartFile, Verified
from batchswap.downloads.resume import BodyPlan, Glance, glance, range_headers, read_head
from batchswap.errors import DownloadError, PrivateAddress
from batchswap.network import DIRECT, Connections, ProxyFault, Routes
from batchswap.network.certificates import certificate_words, refused_certificate
from batchswap.tasks import MediaKind, is_nameable, public

HOPS = 5
"""The number of redirects that are followed."""

AGAIN = (4, 1.0)
"""The number of repeated downloads per media host, and the seconds for which it counts."""

_BLOCK = 1024 * 1024
_BUFFER = 128 * 1024  # small, because unread bytes are lost when the connection breaks
_LONGEST_HEADER = 64 * 1024  # some hosts send longer ones than the 8,190 bytes that aiohttp allows
_PROGRESS = 64 * 1024  # bytes that must arrive within `stall` seconds, so that one file cannot take all night
_REDIRECTS = (301, 302, 303, 307, 308)

Found = TypeVar("Found")


class Downloader:
    """A context manager for the connections to media hosts. They get no key, no cookies and no credentials."""

    def __init__(
        self,
        *,
        allow_private: bool,
        routes: Routes = DIRECT,
        largest: int = 8 * 1024**3,
        connect: float = 15.0,
        stall: float = 60.0,
    ) -> None:
        """`allow_private`: allow addresses that are not public, because the API has one. `largest` is in bytes.

        `connect` and `stall` are the longest times in seconds for a connection, and for the next 64 KiB.

        Behind a proxy, only the name of a host can be checked, because the proxy looks up its address.
        """
        self._routes = routes
        self._guard: SocketFactory | None = None if allow_private else public_socket
        self._largest, self._connect, self._stall = largest, connect, stall
        self.filing = Filing()

    async def __aenter__(self) -> Self:
        self._connections = Connections(
            self._routes,
            connector={"limit": 0},
            direct={"socket_factory": self._guard},
            session={
                "headers": {"User-Agent": "batchswap", "Accept-Encoding": "identity"},
                "timeout": aiohttp.ClientTimeout(connect=self._connect),
                "middlewares": [_send_once],
                "auto_decompress": False,  # because headers are often wrong
                "read_bufsize": _BUFFER,
                "max_line_size": _LONGEST_HEADER,
                "max_field_size": _LONGEST_HEADER,
            },
        )
        self._again: dict[str, AsyncLimiter] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.close()

    async def fetch(
        self, url: str, place: Place, *, kind: MediaKind, attempt: int = 1, remote_id: str = ""
    ) -> Verified:
        """Begin or resume the part of this place until it is a complete file of its kind, checked and synced.

        `remote_id` identifies the result, because the URLs of two results may differ only in their queries. `attempt`
        counts the downloads of this result: from the second one on, they wait for their turn at the host. Raise
        DownloadError; the received bytes are kept for the next attempt if possible.
        """
        target = _check(url, final=True)
        if attempt > 1:
            await self._again.setdefault(target.host or "", AsyncLimiter(*AGAIN)).acquire()
        part = PartFile(place, url, remote_id)
        try:
            await _in_thread(part.open_if_begun)
            if not part.is_whole and not await self._fill(part, target, url):
                await self._fill(part, target, url)  # the old bytes did not fit, and the part is empty now
            if part.is_all_held:
                return await self.filing.do(partial(part.write, kind))
            return await _in_thread(partial(part.verify, kind))
        except BaseException as error:
            is_useless = isinstance(error, DownloadError) and error.reason == "too-large"
            try:
                await _in_thread(part.empty if is_useless else part.flush)
            except DownloadError:
                if isinstance(error, Exception):  # not a cancellation, which must not be replaced
                    raise  # a full disk explains more than the first error
            raise
        finally:
            part.close()

    async def _fill(self, part: PartFile, target: URL, url: str) -> bool:
        """Download the missing bytes. False: the part was emptied, and a new request is needed."""
        headers = range_headers(part.note, part.size)
        start = part.size if headers else 0
        async with _stall(self._stall) as clock:
            with _mapped(url):
                async with self._follow(target, headers) as response:
                    reading = read_head(response.status, response.headers, start, part.note)
                    if reading.then == "restart":
                        await _in_thread(part.empty)
                        return False
                    if reading.then == "write":
                        self._check_size(reading.total or 0)
                        await self._pour(response, part, reading, clock)
        if reading.total is not None and part.size != reading.total:
            raise DownloadError("truncated", f"only {part.size} of {reading.total} bytes arrived ({public(url)})")
        return True

    async def look(self, url: str) -> Glance:
        """Return a media host's description of a file, without downloading it. Raise DownloadError if it has none."""
        target = _check(url, final=True)
        async with _stall(self._stall):
            with _mapped(url):
                async with self._follow(target, {}, "HEAD") as response:
                    if response.ok:
                        return glance(response.status, response.headers)
                # Many hosts refuse HEAD, and a URL may be signed for GET only: then request the first bytes.
                async with self._follow(target, {"Range": "bytes=0-63"}) as response:
                    return glance(response.status, response.headers)

    @asynccontextmanager
    async def _follow(
        self, target: URL, headers: dict[str, str], method: str = "GET"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the first answer that is not a redirect."""
        for _ in range(HOPS + 1):
            if self._guard is not None and self._routes.proxy_for(target) is not None:
                check_name(target.raw_host or "")
            async with self._connections.request(method, target, headers=headers) as response:
                location = response.headers.get("Location", "")
                if response.status not in _REDIRECTS or not location:
                    yield response
                    return
                target = _check(location, base=target)
        raise DownloadError("redirects", f"the media host redirected more than {HOPS} times")

    async def _pour(
        self, response: aiohttp.ClientResponse, part: PartFile, reading: BodyPlan, clock: Callable[[], None]
    ) -> None:
        """Write the body into the part, except for the last block, which waits until the file is complete."""
        if part.size and reading.offset != part.size:
            await _in_thread(part.empty)
        part.expect(reading)
        seen = part.size
        async for piece in _decoded(response, is_coded=reading.is_coded):
            part.held += piece
            self._check_size(part.size)
            if len(part.held) >= _BLOCK:
                await _in_thread(part.flush)
            if part.size - seen >= _PROGRESS:
                seen = part.size
                clock()

    def _check_size(self, size: int) -> None:
        if size > self._largest:
            raise DownloadError("too-large", f"the result is larger than {self._largest:,} bytes", final=True)


async def _decoded(response: aiohttp.ClientResponse, *, is_coded: bool) -> AsyncIterator[bytes]:
    """Yield the body, decoded if its first bytes show a compression."""
    decoder = Decoder() if is_coded else None
    async for piece in response.content.iter_any():
        if decoder is None:
            yield piece
            continue
        decoder.feed(piece)
        while plain := decoder.take(_BLOCK):
            yield plain
    if decoder is not None and not decoder.is_whole:
        raise DownloadError("truncated", "the compressed data ended too early")


def _check(url: str, *, base: URL | None = None, final: bool = False) -> URL:
    """Return an http(s) URL without credentials, byte for byte if possible, so that its signature stays valid.

    Raise DownloadError for any other URL, and for an impossible host.
    """
    try:
        found = URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)
        found = found if base is None else base.join(found)
        host = found.raw_host or ""
        usable = found.scheme in ("http", "https") and bool(host) and found.user is found.password is None
        usable = usable and is_nameable(host)
    except ValueError:
        usable = False
    if not usable:
        raise DownloadError("bad-url", f"the media URL cannot be used ({public(url)})", final=final)
    return found


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Raise DownloadError for network errors. The texts of aiohttp contain whole URLs and are dropped."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise _translate(error, public(url), urlsplit(url).hostname or "") from None


def _translate(error: aiohttp.ClientError | OSError, shown: str, host: str) -> DownloadError:
    if (found := refused_certificate(error)) is not None:
        return DownloadError("unreachable", f"{certificate_words(found, host)} ({shown})")
    match error:
        case ProxyFault():
            return DownloadError("unreachable", f"{error} ({shown})")
        case PrivateAddress():
            return DownloadError("private-address", str(error), final=True)
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, PrivateAddress):
            return DownloadError("private-address", f"{error.host} is not on a public address", final=True)
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or "the media host cannot be reached"
            return DownloadError("unreachable", f"{reason} ({shown})")
        case TimeoutError():
            return DownloadError("timeout", f"the media host is too slow ({shown})")
        case aiohttp.ClientPayloadError():
            return DownloadError("truncated", f"the answer ended too early ({shown})")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return DownloadError("bad-url", f"the media URL cannot be used ({shown})", final=True)
        case _:
            return DownloadError("connection", f"the connection was lost ({shown})")


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating an interrupted GET, which it does only for its own exceptions."""
    with _mapped(str(request.url)):
        return await handler(request)


@asynccontextmanager
async def _stall(seconds: float) -> AsyncIterator[Callable[[], None]]:
    """Raise DownloadError "timeout" unless the yielded function is called at least every `seconds`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield lambda: timeout.reschedule(loop.time() + seconds)
    except TimeoutError:
        raise DownloadError("timeout", f"the media host sent almost nothing for {seconds:g} s") from None


async def _in_thread(work: Callable[[], Found]) -> Found:
    """Run a blocking call."""
    return await to_its_end(asyncio.ensure_future(asyncio.to_thread(work)))
