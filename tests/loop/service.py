"""The API in memory, on a given clock, to test the runner in virtual time.

It counts acceptances by inputs, sees every request in its window, and can fail in each way of api.md.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from math import log
from pathlib import Path
from typing import Any, Literal

import msgspec

from batchswap import wire
from batchswap.client import Answer
from batchswap.clock import Clock
from batchswap.downloads import Trial, Verified
from batchswap.errors import DownloadError, MaybeSent, NeverSent
from batchswap.runner.interfaces import ResultExaminer, ResultSigner

Durations = Callable[[random.Random], float]
Fault = Callable[["Service", str], str | None]
"""A service and a call's kind ("submit", "poll", "balance", "estimate", "detect", "upload") -> what goes wrong:
"429", "455", "500", "402", "401", "422", "404", "lost" (accepted, no answer), "dropped" (not accepted, no answer),
"unsent"; None: nothing."""


def lognormal(median: float, sigma: float) -> Durations:
    return lambda dice: dice.lognormvariate(log(median), sigma)


class Found(msgspec.Struct):
    """One detection. Times are monotonic."""

    url: str
    ends_at: float
    faces: tuple[int, ...]


class Service:
    """One account. `limit` in `period` seconds, strictly; refused requests do not count."""

    def __init__(
        self,
        clock: Clock,
        *,
        durations: Durations,
        limit: int | None = None,
        period: float = 1.0,
        latency: float = 0.01,
        failing: float = 0.0,
        balance: float = 1e9,
        price: float = 1.0,
        fault: Fault | None = None,
        seed: int = 1,
        callback: Callable[[str, wire.TaskInfo], None] | None = None,
        faces: Callable[[str], tuple[int, ...]] = lambda _: (0, 1),
        detecting: float = 5.0,
        detection_ttl: float = 3600.0,
    ) -> None:
        self.clock, self.durations, self.limit, self.period = clock, durations, limit, period
        self.latency, self.failing, self.balance_left, self.price = latency, failing, balance, price
        self.fault, self.dice, self.callback = fault, random.Random(seed), callback
        self.accepted: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.refused = 0
        self.sent: list[float] = []
        """When requests came that counted in the window."""
        self.tasks: dict[str, tuple[float, float, bool, dict[str, Any]]] = {}
        self._window: deque[float] = deque()
        self.last_end = 0.0
        self.faces, self.detecting, self.detection_ttl = faces, detecting, detection_ttl
        self.detecting_of: Callable[[str], float] = lambda _: self.detecting
        self.remark = "Success"
        self.override: dict[str, Any] = {}
        """Faulty answers to use for calls of a kind."""
        self.detections: list[Found] = []
        self.uploads: dict[str, bytes] = {}
        self.put_status = 200

    def _admit(self, kind: str) -> bool:
        now = self.clock.monotonic()
        self.requests[kind] += 1
        while self._window and self._window[0] <= now - self.period:
            self._window.popleft()
        if self.limit is not None and len(self._window) >= self.limit:
            self.refused += 1
            return False
        self._window.append(now)
        self.sent.append(now)
        return True

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        sent_at = self.clock.monotonic()
        fault = self.fault(self, kind) if self.fault else None
        if fault == "unsent":
            raise NeverSent("refused")
        await asyncio.sleep(self.latency / 2)
        code, data = 429, None
        if self._admit(kind):
            code, data = (int(fault), None) if fault is not None and fault.isdigit() else (200, None)
            if code == 200 and fault != "dropped":
                code, data = (200, self.override[kind]) if kind in self.override else answer()
        await asyncio.sleep(self.latency / 2)
        if fault in ("lost", "dropped"):
            raise MaybeSent("reset")
        return Answer(code, code, "", data, None, sent_at, self.clock.monotonic())

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        def accept() -> tuple[int, Any]:
            if self.balance_left < self.price:
                return 402, None
            if body.model.endswith("-multi") and not self._is_detected(body.input):
                return 422, None
            now, took = self.clock.monotonic(), self.durations(self.dice)
            task_id = f"t{len(self.tasks)}"
            self.balance_left -= self.price
            self.accepted[str(sorted(item for item in body.input.items() if item[0] != "detect_id"))] += 1
            self.tasks[task_id] = (now, took, self.dice.random() < self.failing, body.to_json())
            self.last_end = max(self.last_end, now + took)
            if self.callback is not None:
                asyncio.get_running_loop().call_later(took, self.callback, ref, self.info(task_id, now + took))
            return 200, {"task_id": task_id}

        return await self._call("submit", accept)

    def info(self, task_id: str, now: float) -> wire.TaskInfo:
        started, took, fails, param = self.tasks[task_id]
        ended = now >= started + took
        result = None
        if ended:
            urls = () if fails else (f"https://media.example/{task_id}.mp4",)
            result = wire.Result(501 if fails else 200, self.remark, urls)
        status = (wire.FAILED if fails else wire.SUCCESS) if ended else wire.RUNNING
        return wire.TaskInfo(
            task_id,
            status,
            param,
            create_at=started,
            complete_at=started + took if ended else None,
            credits=self.price if ended else None,
            result=result,
        )

    async def task_info(self, remote_id: str) -> Answer:
        def tell() -> tuple[int, Any]:
            if remote_id not in self.tasks:
                return 404, None
            return 200, self.info(remote_id, self.clock.monotonic()).to_json()

        return await self._call("poll", tell)

    async def estimate(self, body: wire.CreateTask) -> Answer:
        found = wire.Estimate(self.price, self.balance_left, True)
        return await self._call("estimate", lambda: (200, found.to_json()))

    async def balance(self) -> Answer:
        return await self._call("balance", lambda: (200, {"balance": self.balance_left}))

    async def detect(self, kind: Literal["video", "image"], url: str) -> Answer:
        def begin() -> tuple[int, Any]:
            ends_at = self.clock.monotonic() + self.detecting_of(url)
            self.detections.append(Found(url, ends_at, self.faces(url)))
            return 200, {"detect_task_id": f"d{len(self.detections) - 1}"}

        return await self._call("detect", begin)

    async def detect_result(self, detect_task_id: str) -> Answer:
        def tell() -> tuple[int, Any]:
            found = self.detections[int(detect_task_id[1:])]
            if self.clock.monotonic() < found.ends_at:
                return 200, wire.Detection(detect_task_id, "processing").to_json()
            if not found.faces:
                return 200, wire.Detection(detect_task_id, "failed", error="no face found").to_json()
            faces = tuple(
                wire.DetectedFace(i, f"https://media.example/{detect_task_id}/{i}.jpg?s=1") for i in found.faces
            )
            return 200, wire.Detection(detect_task_id, "succeeded", f"id-{detect_task_id}", faces).to_json()

        return await self._call("detect", tell)

    def _is_detected(self, inputs: dict[str, Any]) -> bool:
        """Whether a multi-face task refers to a detection that holds, of its own target, with all its faces."""
        number = str(inputs.get("detect_id")).removeprefix("id-d")
        if not number.isdigit() or int(number) >= len(self.detections):
            return False
        found = self.detections[int(number)]
        expired = found.ends_at + self.detection_ttl <= self.clock.monotonic()
        listed = tuple(face["face_id"] for face in inputs["faces"])
        return not expired and found.url in inputs.values() and listed == found.faces

    async def upload_url(self, content_type: str, ext: str) -> Answer:
        def place() -> tuple[int, Any]:
            name = f"{len(self.uploads)}-{self.requests['upload']}{ext}"
            return 200, wire.UploadUrl(f"https://store.example/put/{name}", f"https://store.example/{name}").to_json()

        return await self._call("upload", place)

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        """Not in the window: the store is another host."""
        await asyncio.sleep(self.latency)
        if self.put_status == 200:
            self.uploads[presigned_url.replace("/put", "")] = path.read_bytes()
        now = self.clock.monotonic()
        return Answer(self.put_status, None, "", None, None, now, now, is_envelope=False)

    def busiest(self) -> int:
        """The most requests that any window of `period` seconds held."""
        most, first = 0, 0
        for last, at in enumerate(self.sent):
            while self.sent[first] <= at - self.period:
                first += 1
            most = max(most, last - first + 1)
        return most


class Shelf:
    """Results in memory. `stale` URLs are refused once each, `unreachable` ones always."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.stale: set[str] = set()
        self.unreachable: set[str] = set()
        self.space = 10**12
        self.examiner: ResultExaminer | None = None
        self.signer: ResultSigner | None = None

    def part(self, output: str) -> Path | None:
        return None

    async def take(self, output: str, made: Path) -> None:
        raise AssertionError("nothing is signed here")

    async def discard_signed(self, output: str) -> None:
        """Do nothing: nothing is signed here."""

    def file(self, output: str, part: Verified) -> Path | None:
        return Path(output)

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        if url in self.stale:
            self.stale.discard(url)
            raise DownloadError("gone", "expired", stale=True)
        if url in self.unreachable:
            raise DownloadError("unreachable", "refused")
        return Verified(url, 1, "video/mp4")

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        self.files[output] = part.sha256

    async def holds(self, output: str, sha256: str) -> bool:
        return self.files.get(output) == sha256

    def taken(self, output: str) -> bool:
        return output in self.files

    def obstacle(self, output: str) -> str:
        return ""

    async def try_out(self, outputs: Iterable[str]) -> Trial:
        return Trial()

    def answers(self) -> bool:
        return True

    def is_writable(self) -> bool:
        return True

    def free(self) -> int:
        return self.space
