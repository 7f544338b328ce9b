"""The API of api.md on raw sockets in its own thread. It counts accepted tasks by inputs, and all requests by time.

It shares no code with the package. A test changes its answers with `spoil`.
"""

import asyncio
import hashlib
import json
import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.http.samples import movie
from tests.http.scripted import Act, Exchange, Request, Scripted
from tests.http.scripted_replies import media, ok, reply

PREFIX = "/api/v1/client"
CALLS = {
    f"{PREFIX}/job/CreateTask": "submit",
    f"{PREFIX}/job/TaskInfo": "poll",
    f"{PREFIX}/job/EstimateTask": "estimate",
    f"{PREFIX}/account/balance": "balance",
    f"{PREFIX}/files/upload-url": "upload",
}
Pair = tuple[str, str]
Spoil = Callable[["Vendor", str, Request], Act | None]
"""Takes a call's kind ("submit", "poll", …, "media", "put") and its request, and returns what replaces the answer."""


def box(kind: bytes, payload: bytes) -> bytes:
    return (8 + len(payload)).to_bytes(4, "big") + kind + payload


class Vendor:
    """One account. Tasks end `seconds` after their acceptance. Results have `padding` bytes that players skip."""

    def __init__(self, *, seconds: float = 0.0, padding: int = 0) -> None:
        self.seconds, self.padding = seconds, padding
        self.accepted: Counter[Pair] = Counter()
        self.tasks: dict[str, tuple[Pair, float, Any]] = {}
        self.files: dict[str, str] = {}
        self.arrivals: list[tuple[float, str]] = []
        """Arrival time (monotonic) and kind of each request."""
        self.spoil: Spoil = lambda _, __, ___: None
        self.owed: list[tuple[str, Any]] = []
        """Callbacks to deliver: URL and body."""
        self.victim = 0
        """The current process of the client."""
        self.url = ""
        self.port = 0

    # For the tests.

    def requests(self, kind: str | None = None) -> int:
        return sum(1 for _, each in self.arrivals if kind in (None, each))

    def busiest(self, period: float) -> int:
        """Return the maximum of API calls within any `period` seconds. Media and uploads are no API calls."""
        times = [at for at, kind in self.arrivals if kind not in ("media", "put")]
        return max((sum(1 for at in times if start <= at < start + period) for start in times), default=0)

    def content(self, pair: Pair) -> bytes:
        """Return the result for a pair of inputs, always the same."""
        return movie() + box(b"free", "|".join(pair).encode()) + box(b"free", bytes(self.padding))

    def kill(self) -> None:
        os.kill(self.victim, signal.SIGKILL)

    # The API.

    def choose(self, request: Request) -> Act:
        """Choose the answer from the head. If the body matters, the returned function decides later."""

        async def do(exchange: Exchange) -> bool:
            act = self.act(exchange.request)
            while self.owed:  # before the answer to CreateTask, so the client needs no poll
                await post(*self.owed.pop())
            return await act(exchange)

        return Act(do)

    def act(self, request: Request) -> Act:
        kind = CALLS.get(request.path) or ("put" if request.method == "PUT" else "media")
        self.arrivals.append((time.monotonic(), kind))
        return self.spoil(self, kind, request) or self.answer(kind, request)

    def answer(self, kind: str, request: Request) -> Act:
        """Return the good answer."""
        match kind:
            case "submit":
                return reply(json=ok({"task_id": self.accept(request)}))
            case "poll":
                found = self.info(request.query.get("task_id", ""))
                return reply(json=ok(found)) if found else reply(404, json=ok(None, 404, "no such task"))
            case "estimate":
                return reply(json=ok({"estimated_credits": 1, "balance": 1000, "affordable": True}))
            case "balance":
                return reply(json=ok({"balance": 1000 - len(self.tasks)}))
            case "upload":
                name = f"{self.url}/files/{len(self.arrivals)}"
                return reply(json=ok({"presigned_url": f"{name}?X-Signature=SIGNATURE", "file_url": name}))
            case "put":
                self.files[self.url + request.path] = hashlib.sha256(request.body).hexdigest()
                return reply()
            case _:
                task_id = request.path.removeprefix("/media/").removesuffix(".mp4")
                return media(self.content(self.tasks[task_id][0]), etag=f'"{task_id}"')

    def accept(self, request: Request) -> str:
        """Accept and charge the task."""
        body = request.json()
        given = (body["input"]["video_url"], body["input"]["new_face"])
        pair = (self.files.get(given[0], given[0]), self.files.get(given[1], given[1]))
        self.accepted[pair] += 1
        task_id = f"task-{self.url[-5:]}-{len(self.tasks)}"
        self.tasks[task_id] = (pair, time.monotonic(), body)
        if body.get("callback_url"):
            self.owed.append((body["callback_url"], self.info(task_id)))
        return task_id

    def info(self, task_id: str) -> dict[str, Any] | None:
        if task_id not in self.tasks:
            return None
        _, at, body = self.tasks[task_id]
        is_over = time.monotonic() >= at + self.seconds
        result = {"code": 200, "message": "", "media_urls": [f"{self.url}/media/{task_id}.mp4?X-Signature=SIGNATURE"]}
        ended = {"complete_at": 1_790_000_000.01, "duration_s": 0.01, "credits": 1, "result": result}
        return {
            "task_id": task_id,
            "provider": "vendor",
            "model_version": body["model"],
            "source": "api",
            "status": "success" if is_over else "running",
            "param": body,
            "create_at": 1_790_000_000,
            **(ended if is_over else dict.fromkeys(ended)),
        }


async def post(url: str, body: Any) -> None:
    """Deliver a callback once, and ignore the answer."""
    parts = urlsplit(url)
    content = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    await reader.read()
    writer.close()


@contextmanager
def selling(*, tls: ssl.SSLContext | None = None, name: str = "", **options: Any) -> Iterator[Vendor]:
    """Yield a vendor that serves until the block ends. `name`: the host in its URLs, which only a proxy resolves."""
    vendor = Vendor(**options)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with Scripted(choose=vendor.choose, tls=tls) as server:
            vendor.url, vendor.port = f"https://{name}" if name else server.url, server.port
            stop = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(asyncio.run, serve())
        loop, stop = started.result(10)
        try:
            yield vendor
        finally:
            loop.call_soon_threadsafe(stop.set)
            ended.result(10)
