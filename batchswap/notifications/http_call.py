"""One call over HTTP, tried several times. No redirect is followed, and errors name the scheme and the host only."""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from batchswap import __version__
from batchswap.client.http import is_loopback
from batchswap.errors import UsageError
from batchswap.network import DIRECT, Connections, ProxyFault, Routes
from batchswap.network.certificates import certificate_words, refused_certificate
from batchswap.network.faults import reason_of

TRIES = 3
ONE_TRY = 10.0
PAUSES = (0.5, 1.5)
"""Seconds before the second and the third try."""
_READ = 1_000
"""Bytes of an answer that are read."""
_AGAIN = (408, 429)
"""Refusals that another try may change, besides those of 500 and more."""
_LOST = ("not found", "rate limited")
"""Words in the answers of Healthchecks to pings that do not count. Their status is 200."""


class Sent(msgspec.Struct, frozen=True):
    """The outcome of sending. `kind` is "message", "ping" or "webhook", `wrong` why it was not sent, or "".

    `place` is a scheme, or a scheme and a host.
    """

    kind: str
    place: str
    wrong: str = ""

    @property
    def words(self) -> str:
        """Return the failure as a sentence."""
        to = {"message": "the message to", "ping": "the ping to", "webhook": "the call of the webhook at"}[self.kind]
        return f"{to} {self.place} failed: {self.wrong}"


class HttpCall(msgspec.Struct, frozen=True):
    """A request. `headers` returns those of one try, which may have its time."""

    kind: str
    method: str
    url: str
    body: bytes = b""
    headers: Callable[[], Mapping[str, str]] = dict


def check_private_url(option: str, url: str) -> None:
    """Raise UsageError, without the URL, unless it is https, or http to this machine."""
    with suppress(ValueError):
        found = urlsplit(url)
        host = found.hostname or ""
        if host and (found.scheme == "https" or (found.scheme == "http" and is_loopback(host))) and found.port != 0:
            return
    raise UsageError(f"{option}: the URL must be https, or http to this machine")


def origin_of(url: str) -> str:
    """Return the scheme and the host of a URL: its path and its query may be secrets."""
    found = urlsplit(url)
    host = found.hostname or ""
    return f"{found.scheme}://{f'[{host}]' if ':' in host else host}"


class DaemonResolver(AbstractResolver):
    """Looks names up in daemon threads. The usual threads would keep the process alive while a name server hangs."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raise OSError."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def settle(rows: list[tuple[Any, ...]], error: OSError | None) -> None:
            if not found.done():
                found.set_exception(error) if error else found.set_result(rows)

        def look() -> None:
            rows, failed = list[tuple[Any, ...]](), None
            try:
                rows = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
            except OSError as error:
                failed = error
            except UnicodeError:  # such as two dots in a row
                failed = socket.gaierror(socket.EAI_NONAME, "not a valid name")
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(settle, rows, failed)

        threading.Thread(target=look, daemon=True).start()
        return [
            ResolveResult(hostname=host, host=where[0], port=where[1], family=kind, proto=proto, flags=0)
            for kind, _, proto, _, where in await found
        ]

    async def close(self) -> None:
        """Do nothing: a thread ends by itself."""


async def make(call: HttpCall, routes: Routes = DIRECT) -> Sent:
    """Make the call, up to three times. It is cancelled when the time for all messages is over."""
    wrong = ""
    for pause in (*PAUSES, 0.0):
        try:
            async with asyncio.timeout(ONE_TRY):
                wrong, is_final = await _try(call, routes)
        except TimeoutError:
            wrong, is_final = f"no answer in {ONE_TRY:g} s", False
        except (aiohttp.ClientError, OSError, ValueError) as error:
            wrong, is_final = _in_words(error, call.url), False
        if not wrong or is_final:
            break
        await asyncio.sleep(pause)
    return Sent(call.kind, origin_of(call.url), wrong)


async def _try(call: HttpCall, routes: Routes) -> tuple[str, bool]:
    """Return the problem with the answer, and whether another try is pointless."""
    headers = {"User-Agent": f"batchswap/{__version__}", **call.headers()}
    async with (
        Connections(routes, direct={"resolver": DaemonResolver()}, session={}) as connections,
        connections.request(call.method, URL(call.url), data=call.body or None, headers=headers) as answer,
    ):
        text = (await answer.content.read(_READ)).decode(errors="replace").lower()
        if answer.status >= 300:
            is_final = answer.status < 500 and answer.status not in _AGAIN
            to = " with a redirect, which is not followed" if answer.status < 400 else ""
            return f"it answered {answer.status}{to}", is_final
        if call.kind == "ping" and (lost := next((each for each in _LOST if f"({each})" in text), "")):
            return f"it answered that the check is {lost}", True
    return "", False


def _in_words(error: Exception, url: str) -> str:
    """Return why there was no answer. The texts of other errors may have the URL."""
    if (found := refused_certificate(error)) is not None:
        return certificate_words(found, URL(url).host or "")
    match error:
        case ProxyFault():
            return str(error)
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be found"
        case aiohttp.ClientConnectorError():
            return f"it cannot be reached{reason_of(error.os_error)}"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "it closed the connection"
    return type(error).__name__
