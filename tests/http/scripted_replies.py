"""The reactions of a scripted server to a request: good answers, bad ones, and none."""

import asyncio
import json as json_codec
from typing import Any

from tests.http.scripted import Act, Exchange, Headers, cut, head


def ok(data: Any = None, code: int = 200, message: str = "success") -> dict[str, Any]:
    """Return the API's envelope."""
    return {"code": code, "message": message, "data": data}


def reply(
    status: int = 200, *, json: Any = None, body: bytes = b"", headers: Headers | None = None, early: bool = False
) -> Act:
    """Send a correct answer, unless `headers` has another Content-Length."""
    content = body if json is None else json_codec.dumps(json).encode()
    kind = "application/json" if json is not None else "application/octet-stream"
    given = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}

    async def do(exchange: Exchange) -> bool:
        await exchange.send(head(status, given) + (b"" if exchange.request.method == "HEAD" else content))
        return given["Content-Length"] == str(len(content)) and not early

    return Act(do, early)


def raw(data: bytes) -> Act:
    """Send these bytes and close the connection."""

    async def do(exchange: Exchange) -> bool:
        await exchange.send(data)
        return False

    return Act(do)


def close(*, early: bool = False) -> Act:
    """Close the connection in good order, without an answer."""

    async def do(exchange: Exchange) -> bool:
        return False

    return Act(do, early)


def reset(*, after: bytes = b"", early: bool = False) -> Act:
    """Reset the connection after some bytes of an answer."""

    async def do(exchange: Exchange) -> bool:
        if after:
            await exchange.send(after)
            await asyncio.sleep(0.01)  # a reset discards bytes that have not been sent
        cut(exchange.writer)
        return False

    return Act(do, early)


def stall(*, after: bytes = b"", early: bool = False) -> Act:
    """Send nothing more while the client waits."""

    async def do(exchange: Exchange) -> bool:
        if after:
            await exchange.send(after)
        await exchange.reader.read()
        return False

    return Act(do, early)


def drip(data: bytes, pause: float, piece: int = 1) -> Act:
    """Send an answer a few bytes at a time."""

    async def do(exchange: Exchange) -> bool:
        for start in range(0, len(data), piece):
            await exchange.send(data[start : start + piece])
            await asyncio.sleep(pause)
        return False

    return Act(do)


def truncated(body: bytes, keep: int, *, status: int = 200, headers: Headers | None = None) -> Act:
    """Send the Content-Length of the whole body and `keep` bytes of it, and close in good order."""
    return raw(head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body[:keep])


def chunked(body: bytes, *, size: int = 1000, complete: bool = True, headers: Headers | None = None) -> Act:
    """Send a chunked body, without its last chunk if not `complete`."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return raw(
        head(200, {"Transfer-Encoding": "chunked", **(headers or {})}) + coded + (b"0\r\n\r\n" if complete else b"")
    )


def redirect(location: str, status: int = 302) -> Act:
    return reply(status, headers={"Location": location})


def media(body: bytes, *, etag: str = '"v1"', headers: Headers | None = None, keep: int | None = None) -> Act:
    """Serve a file like a good media host, with Range, If-Range and 416. Only `keep` bytes are sent."""

    async def do(exchange: Exchange) -> bool:
        asked = exchange.request.headers
        given = {"Accept-Ranges": "bytes", "Content-Type": "video/mp4", **({"ETag": etag} if etag else {})}
        start = int(asked["range"].removeprefix("bytes=").rstrip("-")) if "range" in asked else 0
        fresh = "range" not in asked or asked.get("if-range", etag) != etag
        if fresh:
            start, status = 0, 200
        elif start >= len(body):
            return await reply(416, headers={**given, "Content-Range": f"bytes */{len(body)}"}).do(exchange)
        else:
            status = 206
            given["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        given |= {"Content-Length": str(len(body) - start), **(headers or {})}
        part = body[start:]
        await exchange.send(head(status, given) + (part if keep is None else part[:keep]))
        return keep is None

    return Act(do)
