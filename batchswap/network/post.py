"""One POST of a program without an event loop."""

import asyncio
import os

import aiohttp
import msgspec
from yarl import URL

from batchswap.network.certificates import certificate_words, refused_certificate
from batchswap.network.connections import Connections
from batchswap.network.routes import Routes


class NoReply(Exception):
    """There was no answer. The text has the reason, without the URL."""


class Reply(msgspec.Struct, frozen=True):
    status: int
    content_type: str
    body: bytes


def post(routes: Routes, url: str, body: bytes, *, content_type: str, seconds: float, longest: int) -> Reply:
    """Return the answer, with the first `longest` bytes of its body. Follow no redirect. Raise NoReply."""
    try:
        return asyncio.run(_post(routes, URL(url), body, content_type, seconds, longest))
    except TimeoutError:
        raise NoReply("timed out") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoReply(_words(error, URL(url).host or "")) from None


async def _post(routes: Routes, url: URL, body: bytes, content_type: str, seconds: float, longest: int) -> Reply:
    headers = {"Content-Type": content_type, "User-Agent": "batchswap"}
    async with (
        asyncio.timeout(seconds),
        Connections(routes, session={}) as connections,
        connections.request("POST", url, headers=headers, data=body) as answer,
    ):
        received = bytearray()
        async for piece in answer.content.iter_any():
            received += piece
            if len(received) >= longest:
                break
        return Reply(answer.status, answer.content_type, bytes(received[:longest]))


def _words(error: Exception, host: str) -> str:
    if (found := refused_certificate(error)) is not None:
        return certificate_words(found, host)
    reason = getattr(error, "os_error", error)
    number = getattr(reason, "errno", None)
    return os.strerror(number) if number else str(reason) or type(reason).__name__
