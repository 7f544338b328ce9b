"""A lean server for the benchmarks in its own process, with only the necessary part of the API.

`python -m tests.benchmarks.server '{"limit": 20, "seed": 7}'` prints its base URL and serves until its standard input
ends. Its window is strict: within any `period` seconds, it answers at most `limit` requests, and the others with a 429.
It measures all contenders: `GET /report` returns the times and kinds of their requests.
"""

import asyncio
import json
import random
import struct
import sys
import time
from collections import Counter, deque
from math import log
from typing import Any, NamedTuple
from urllib.parse import urlsplit


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


MEDIA = (
    _box(b"ftyp", b"isom\0\0\2\0") + _box(b"moov", _box(b"mvhd", bytes(100)) + _box(b"trak", b"")) + _box(b"mdat", b"")
)


class Plan(NamedTuple):
    """Settings of the server. `limit` None: no limit. `kind` of durations: "lognormal", "bimodal" or "none"."""

    limit: int | None = 20
    period: float = 1.0
    kind: str = "lognormal"
    median: float = 6.0
    sigma: float = 0.35
    seed: int = 1
    lost_calls: float = 0.0
    """Share of callbacks that are lost."""


def draw(plan: Plan, dice: random.Random) -> float:
    """Draw the duration of one task in seconds."""
    if plan.kind == "none":
        return 0.0
    if plan.kind == "bimodal":
        median = plan.median * dice.choice((0.5, 2.5))
        return dice.lognormvariate(log(median), plan.sigma)
    return dice.lognormvariate(log(plan.median), plan.sigma)


class Service:
    """One account."""

    def __init__(self, plan: Plan, base_url: str = "") -> None:
        self.plan, self.base_url = plan, base_url
        self.dice, self.losing = random.Random(plan.seed), random.Random(plan.seed + 1)
        self.window: deque[float] = deque()
        self.tasks: dict[str, tuple[float, float]] = {}
        self.counts: Counter[str] = Counter()
        self.durations: list[float] = []
        self.found: set[str] = set()
        self.late: list[float] = []
        """Seconds between the end of each task and the request that found it."""
        self.early: list[tuple[str, float, float]] = []
        """Refused requests: their kinds, the seconds by which they were too early, and their times."""
        self.first = self.last = 0.0
        self.calls: set[asyncio.Task[None]] = set()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        path, _, query = target.partition("?")
        if path == "/media.mp4":
            self.counts["media"] += 1
            self.last = time.monotonic()
            return 200, MEDIA
        if path == "/report":
            return 200, json.dumps(self.report()).encode()
        kind = path.rpartition("/")[2]
        code, data = (200, self.act(kind, query, body)) if self.admit(kind) else (429, None)
        return code, json.dumps({"code": code, "message": "", "data": data}).encode()

    def admit(self, kind: str) -> bool:
        now = time.monotonic()
        self.first = self.first or now
        self.counts[kind] += 1
        if self.plan.limit is None:
            return True
        while self.window and self.window[0] <= now - self.plan.period:
            self.window.popleft()
        if len(self.window) >= self.plan.limit:
            self.counts["429"] += 1
            self.early.append((kind, self.window[0] + self.plan.period - now, now - self.first))
            return False
        self.window.append(now)
        return True

    def act(self, kind: str, query: str, body: bytes) -> Any:
        match kind:
            case "CreateTask":
                return self.accept(json.loads(body))
            case "TaskInfo":
                return self.info(query.removeprefix("task_id="))
            case "EstimateTask":
                return {"estimated_credits": 1, "balance": 1e9, "affordable": True}
            case _:
                return {"balance": 1e9}

    def accept(self, asked: dict[str, Any]) -> Any:
        task_id, took = f"t{len(self.tasks)}", draw(self.plan, self.dice)
        self.durations.append(took)
        self.tasks[task_id] = time.monotonic(), took
        if url := asked.get("callback_url"):
            call = asyncio.ensure_future(self.call_back(task_id, url, took))
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)
        return {"task_id": task_id}

    def info(self, task_id: str) -> Any:
        started, took = self.tasks[task_id]
        now, wall = time.monotonic(), time.time()
        done = now >= started + took
        if done:
            self.note_end(task_id, now)
        return {
            "task_id": task_id,
            "status": "success" if done else "running",
            "create_at": wall - (now - started),
            "complete_at": wall - (now - started) + took if done else None,
            "credits": 1 if done else None,
            "result": {"code": 200, "message": "", "media_urls": [f"{self.base_url}/media.mp4"]} if done else None,
        }

    def note_end(self, task_id: str, now: float) -> None:
        if task_id not in self.found:
            started, took = self.tasks[task_id]
            self.found.add(task_id)
            self.late.append(now - started - took)
            self.last = now

    async def call_back(self, task_id: str, url: str, took: float) -> None:
        """Deliver a callback once, unless it is drawn to be lost."""
        await asyncio.sleep(took + 0.001)
        if self.losing.random() < self.plan.lost_calls:
            return
        body = json.dumps(self.info(task_id)).encode()
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.read()
        writer.close()

    def report(self) -> dict[str, Any]:
        """Return the report. `floor` is the shortest possible makespan with the drawn durations."""
        rate = self.plan.limit / self.plan.period if self.plan.limit else float("inf")
        ends = [number / rate + took for number, took in enumerate(self.durations)]
        return {
            "first": self.first,
            "seconds": self.last - self.first,
            "floor": max([2 * len(ends) / rate, *ends]),
            "ended": len(self.found),
            "tasks": len(self.tasks),
            "requests": sum(n for kind, n in self.counts.items() if kind not in ("media", "429")),
            "late": sorted(self.late),
            "took": self.durations,
            "early": self.early,
            **self.counts,
        }


class Connection(asyncio.Protocol):
    """HTTP/1.1, as far as well-behaved clients need it."""

    def __init__(self, service: Service) -> None:
        self.service, self.waiting = service, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
            whole = end + 4 + size
            if len(self.waiting) < whole:
                return
            method, target, _ = self.waiting[:end].partition(b"\r\n")[0].decode().split(" ")
            body, self.waiting = self.waiting[end + 4 : whole], self.waiting[whole:]
            status, answer = self.service.answer(method, target, body)
            self.transport.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))
            if b"connection: close" in head:
                self.transport.close()


async def serve(plan: Plan) -> None:
    service = Service(plan)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    service.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(service.base_url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Plan(**json.loads(sys.argv[1]))))
