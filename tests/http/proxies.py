"""A proxy on the loopback interface: HTTP (CONNECT and absolute form) or SOCKS5, with faults on purpose.

It resolves names itself, to ports of this machine, so that a test can use names that do not exist. All traffic stays
on the loopback interface. It shares no code with the package.
"""

import asyncio
import base64
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from tests.http.scripted import cut

Fault = int | str | None
"""The status that a proxy answers with, "hang", "close", "garbage", or "cut" after the first bytes; None: no fault."""
PHRASES = {407: "Proxy Authentication Required", 403: "Forbidden", 502: "Bad Gateway", 504: "Gateway Timeout"}
PAGE = b"<html>a page of the proxy</html>"


class TestProxy:
    """`hosts` has the port for each name. `credentials` ("user:password") are required if they are given."""

    __test__ = False

    def __init__(self, hosts: dict[str, int], *, credentials: str = "", challenge: str = "Basic realm=x") -> None:
        self.hosts, self.credentials, self.challenge = hosts, credentials, challenge
        self.fault: Callable[[str], Fault] = lambda _: None
        """Takes the host of a request."""
        self.seen: Counter[str] = Counter()
        """The number of requests for each host."""
        self.heads: list[str] = []
        """What clients sent before they had a connection to a host."""
        self.port = 0
        self._tunnels: set[asyncio.StreamWriter] = set()
        self._far: list[asyncio.StreamWriter] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def total(self) -> int:
        return sum(self.seen.values())

    def cut_tunnels(self) -> None:
        """Break all open tunnels at once, from any thread."""
        assert self._loop is not None
        for each in list(self._tunnels):
            self._loop.call_soon_threadsafe(cut, each)

    async def serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection of a client."""
        first = await reader.readexactly(1)
        if not first.isalpha():
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        parts = urlsplit(target if "://" in target else f"//{target}")
        host = parts.hostname or ""
        self.seen[host] += 1
        fault = self.fault(host)
        if fault is None and self.credentials and f"Basic {_base64(self.credentials)}" not in head:
            fault = 407
        if isinstance(fault, int):
            more = f"Proxy-Authenticate: {self.challenge}\r\n" if fault == 407 else ""
            start = f"HTTP/1.1 {fault} {PHRASES.get(fault, 'No')}\r\n{more}Connection: close\r\n"
            writer.write(f"{start}Content-Length: {len(PAGE)}\r\n\r\n".encode() + (b"" if method == "HEAD" else PAGE))
            await writer.drain()
            return
        if await self._misbehave(fault, writer):
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.hosts[host])
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            lines = [line for line in head.split("\r\n")[1:] if line and not line.lower().startswith("proxy-")]
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            far_writer.write("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "Connection: close", "", ""]).encode())
        await self._pass_on(reader, writer, far_reader, far_writer, fault)

    async def serve_socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection of a client (RFC 1928 and 1929)."""
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self.credentials else 0
        writer.write(bytes([5, wanted if wanted in methods else 255]))
        if wanted not in methods:
            return
        if wanted:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            is_right = self.credentials.encode() == user + b":" + password
            writer.write(bytes([1, 0 if is_right else 1]))
            if not is_right:
                return
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
        await reader.readexactly(2)
        self.seen[host] += 1
        fault = self.fault(host)
        if isinstance(fault, int):
            writer.write(bytes([5, fault, 0, 1]) + bytes(6))
            await writer.drain()
            return
        if await self._misbehave(fault, writer):
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.hosts[host])
        writer.write(bytes([5, 0, 0, 1]) + bytes(6))
        await self._pass_on(reader, writer, far_reader, far_writer, fault)

    async def _misbehave(self, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection is over."""
        match fault:
            case "hang":
                await asyncio.Event().wait()
            case "close":
                return True
            case "garbage":
                writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                await writer.drain()
                return True
        return False

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        fault: Fault,
    ) -> None:
        self._tunnels.add(writer)
        self._far.append(far_writer)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if fault == "cut":
                    cut(writer)
                    return
                sink.write(data)
                await sink.drain()
            with suppress(OSError):
                sink.close()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, far_writer))
                group.create_task(pump(far_reader, writer))
        finally:
            self._tunnels.discard(writer)
            far_writer.close()

    async def run(self, *, is_socks: bool, tls: ssl.SSLContext | None, started: Future[asyncio.Event]) -> None:
        """Serve until the event is set."""
        serve = self.serve_socks if is_socks else self.serve_http
        open_: set[asyncio.Task[None]] = set()
        writers: list[asyncio.StreamWriter] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            open_.add(task)
            writers.append(writer)
            try:
                await serve(reader, writer)
            except* (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # a client or host has closed the connection, or the test is over
            finally:
                open_.discard(task)
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
        self._loop, self.port = asyncio.get_running_loop(), server.sockets[0].getsockname()[1]
        stop = asyncio.Event()
        started.set_result(stop)
        await stop.wait()
        server.close()
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        for each in (*writers, *self._far):
            each.transport.abort()
        await asyncio.sleep(0.01)  # in which the sockets are closed


@contextmanager
def proxying(proxy: TestProxy, *, is_socks: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[TestProxy]:
    """Let a proxy serve in a thread of its own until the block ends."""
    started: Future[asyncio.Event] = Future()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(asyncio.run, proxy.run(is_socks=is_socks, tls=tls, started=started))
        stop = started.result(10)
        try:
            yield proxy
        finally:
            assert proxy._loop is not None
            proxy._loop.call_soon_threadsafe(stop.set)
            ended.result(10)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Authority:
    """A private certificate authority. `root` is a file with its certificate."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.root = folder / "private-root.pem"
        self.ca.cert_pem.write_to_path(str(self.root))

    def context(self, *names: str, **validity: object) -> ssl.SSLContext:
        """Return the context of a server with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, **validity).configure_cert(context)  # type: ignore[arg-type]
        return context
