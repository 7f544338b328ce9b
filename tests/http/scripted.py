"""A server that does exactly what a test scripts, including faults: raw streams on a real loopback socket.

    async with Scripted(reply(json=ok({"task_id": "t1"})), reset(), then=stall()) as server:
        ...
        assert [r.path for r in server.requests] == [...]

The possible reactions are in scripted_replies.py.
Every request takes the next act of the script; after the last one, `then` answers everything. `choose` replaces both:
it sees the request and returns the act. An act gets the exchange and says by its return whether the connection lives.
"""

import asyncio
import json as json_codec
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """A request. `headers` has lower-case names; `at` is the loop's time when the head was complete."""

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
    """One request with the stream for its answer. The body is read by `read`, or before an act that is not early."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass(frozen=True)
class Act:
    """The scripted reaction to a request. `early`: before its body is read."""

    do: Callable[[Exchange], Awaitable[bool]]
    early: bool = False

    def __call__(self, exchange: Exchange) -> Awaitable[bool]:
        return self.do(exchange)


def head(status: int, headers: Headers, reason: str = "Scripted") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _say_over(exchange: Exchange) -> bool:
    await exchange.send(head(404, {"Content-Length": "0"}, "The script is over"))
    return True


def cut(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() != -1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Scripted:
    """The server. `on_connect` returns for every connection whether to keep it or to reset it unread."""

    def __init__(
        self,
        *script: Act,
        then: Act | None = None,
        choose: Callable[[Request], Act] | None = None,
        on_connect: Callable[[], bool] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.script, self.then, self.choose, self.on_connect, self.tls = script, then, choose, on_connect, tls
        self.requests: list[Request] = []
        self.connections = 0
        self._open: set[asyncio.Task[None]] = set()
        self._encrypted: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=2**20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for writer in self._encrypted:  # TLS would wait for the client to close, too
            writer.transport.abort()
        await asyncio.sleep(0.01 if self._encrypted else 0)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        if self.tls is not None:
            self._encrypted.append(writer)
        self.connections += 1
        connection = self.connections
        try:
            if self.on_connect is not None and not self.on_connect():
                cut(writer)
                return
            while await self._exchange(reader, writer, connection):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has closed the connection, or the test is over
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
        return self.then or Act(_say_over)


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
