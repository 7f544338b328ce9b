"""A server that does exactly what a test tells it to, faults included: raw streams on a real loopback socket.

    async with Scripted(reply(json=ok({"task_id": "t1"})), reset(), then=stall()) as server:
        ...
        assert [r.path for r in server.requests] == [...]

Every request takes the next act of the script; after the last one, `then` answers everything. `choose` replaces both:
it sees the request and returns the act. An act gets the exchange and says by its return whether the connection lives.
"""

import asyncio
import json as json_codec
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What came in. `headers` has lower-case names; `at` is the loop's time when the head was complete."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def json(self) -> Any:
        return json_codec.loads(self.body)


@dataclass
class Exchange:
    """One request and the way back. The body is read when `read` is awaited, or before the act unless it is early."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass(frozen=True)
class Act:
    """What to do with a request. `early`: before its body is read."""

    do: Callable[[Exchange], Awaitable[bool]]
    early: bool = False

    def __call__(self, exchange: Exchange) -> Awaitable[bool]:
        return self.do(exchange)


def head(status: int, headers: Headers, reason: str = "Scripted") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def ok(data: Any = None, code: int = 200, message: str = "success") -> dict[str, Any]:
    """The API's envelope."""
    return {"code": code, "message": message, "data": data}


def reply(
    status: int = 200, *, json: Any = None, body: bytes = b"", headers: Headers | None = None, early: bool = False
) -> Act:
    """An answer as it should be, unless `headers` says another Content-Length."""
    content = body if json is None else json_codec.dumps(json).encode()
    kind = "application/json" if json is not None else "application/octet-stream"
    given = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}

    async def do(exchange: Exchange) -> bool:
        await exchange.send(head(status, given) + (b"" if exchange.request.method == "HEAD" else content))
        return given["Content-Length"] == str(len(content)) and not early

    return Act(do, early)


def raw(data: bytes) -> Act:
    """These bytes and an end of the connection."""

    async def do(exchange: Exchange) -> bool:
        await exchange.send(data)
        return False

    return Act(do)


def close(*, early: bool = False) -> Act:
    """No answer: the connection is closed in good order."""

    async def do(exchange: Exchange) -> bool:
        return False

    return Act(do, early)


def reset(*, after: bytes = b"", early: bool = False) -> Act:
    """RST, after some bytes of an answer."""

    async def do(exchange: Exchange) -> bool:
        if after:
            await exchange.send(after)
            await asyncio.sleep(0.01)  # a reset overtakes what still waits to be sent
        cut(exchange.writer)
        return False

    return Act(do, early)


def stall(*, after: bytes = b"", early: bool = False) -> Act:
    """Nothing more, for as long as the other side waits."""

    async def do(exchange: Exchange) -> bool:
        if after:
            await exchange.send(after)
        await exchange.reader.read()
        return False

    return Act(do, early)


def drip(data: bytes, pause: float, piece: int = 1) -> Act:
    """An answer that comes a few bytes at a time."""

    async def do(exchange: Exchange) -> bool:
        for start in range(0, len(data), piece):
            await exchange.send(data[start : start + piece])
            await asyncio.sleep(pause)
        return False

    return Act(do)


def truncated(body: bytes, keep: int, *, status: int = 200, headers: Headers | None = None) -> Act:
    """Content-Length of the whole body, `keep` bytes of it, and an end in good order."""
    return raw(head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body[:keep])


def chunked(body: bytes, *, size: int = 1000, complete: bool = True, headers: Headers | None = None) -> Act:
    """Transfer-Encoding: chunked; without its last chunk when not `complete`."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return raw(
        head(200, {"Transfer-Encoding": "chunked", **(headers or {})}) + coded + (b"0\r\n\r\n" if complete else b"")
    )


def redirect(location: str, status: int = 302) -> Act:
    return reply(status, headers={"Location": location})


def media(body: bytes, *, etag: str = '"v1"', headers: Headers | None = None, keep: int | None = None) -> Act:
    """A file as a good media host serves it: Range, If-Range, 416. `keep` bytes are sent of what should be."""

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


def cut(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() != -1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Scripted:
    """The server. `on_connect` says for every connection whether it lives (True) or is reset unread."""

    script: tuple[Act, ...]
    then: Act | None = None
    choose: Callable[[Request], Act] | None = None
    on_connect: Callable[[], bool] | None = None
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __init__(
        self,
        *script: Act,
        then: Act | None = None,
        choose: Callable[[Request], Act] | None = None,
        on_connect: Callable[[], bool] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.script, self.then, self.choose, self.on_connect, self.tls = script, then, choose, on_connect, tls
        self.requests = []
        self.connections = 0
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=2**20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        connection = self.connections
        try:
            if self.on_connect is not None and not self.on_connect():
                cut(writer)
                return
            while await self._exchange(reader, writer, connection):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or the test is over
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        at = asyncio.get_running_loop().time()
        method, target, _ = lines[0].split(" ", 2)
        headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
        request = Request(method, target, headers, b"", at, connection)
        act = self._next(request)
        if not act.early:
            request = Request(method, target, headers, await read_body(reader, headers), at, connection)
        self.requests.append(request)
        return await act(Exchange(request, reader, writer)) and headers.get("connection") != "close"

    def _next(self, request: Request) -> Act:
        if self.choose is not None:
            return self.choose(request)
        taken = len(self.requests)
        if taken < len(self.script):
            return self.script[taken]
        return self.then or reply(404, json=ok(None, 404, "the script is over"))


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
