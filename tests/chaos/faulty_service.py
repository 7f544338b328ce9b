"""The service in memory with the faults of a schedule. It asserts the invariants at every request."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from batchswap import wire
from batchswap.client import Answer
from batchswap.downloads import Verified
from batchswap.errors import DownloadError, MaybeSent, NeverSent
from tests.chaos.schedules import NEVER_TAKEN, RETRY_AFTER, UNCLEAR, Schedule
from tests.loop.service import Service, Shelf, lognormal
from tests.virtual import VirtualClock


class Witness(Protocol):
    """An object that can read the ledger at any moment."""

    @property
    def is_dead(self) -> bool:
        """Return whether the current process was killed."""

    def check_intent(self, ref: str) -> None: ...
    def check_known(self, remote_id: str) -> None: ...
    def check_verified(self, output: str, part: Verified) -> None: ...
    def deliver(self, ref: str, info: wire.TaskInfo) -> None: ...


class FaultyService(Service):
    """One account with the faults of a schedule."""

    def __init__(self, schedule: Schedule, world: Witness) -> None:
        super().__init__(VirtualClock(), durations=lognormal(schedule.median, 0.5), failing=schedule.failing)
        self._script = {
            "submit": deque(schedule.submits),
            "poll": deque(schedule.polls),
            "estimate": (free := deque(schedule.free)),
            "balance": free,
        }
        self._schedule, self._world = schedule, world
        self._callbacks = deque(schedule.callbacks or ())
        self.came: list[float] = []
        """Arrival times of all requests, including refused ones."""
        self.answered: dict[str, list[tuple[str, str | None]]] = {}
        """By inputs: the answer to each submit, and the task that it created."""
        self._refs: set[str] = set()
        self._closed = (0.0, 0.0)
        """Periods in which Retry-After forbids requests. Requests scheduled before its arrival may still leave."""

    def _next_fault(self, kind: str) -> str | None:
        now = self.clock.monotonic()
        for start, length, what in self._schedule.storms:
            if start <= now < start + length:
                return what
        script = self._script[kind]
        return script.popleft() if script else None

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        return await self._deal(kind, self._next_fault(kind), answer)

    async def _deal(self, kind: str, fault: str | None, answer: Callable[[], tuple[int, Any]]) -> Answer:
        sent_at = self.clock.monotonic()
        first, last = self._closed
        assert self._world.is_dead or not first + 1e-3 < sent_at < last, (
            "a request left although Retry-After is not over"
        )
        if fault == "unsent":
            raise NeverSent("refused")
        await asyncio.sleep(self.latency / 2)
        self.requests[kind] += 1
        self.came.append(self.clock.monotonic())
        status, code, data = 200, 200, None
        if fault not in NEVER_TAKEN and fault != "500":
            code, data = answer()
        if fault == "slow":
            await asyncio.sleep(40.0)
        status, found, data = _bend(fault, code, data)
        await asyncio.sleep(self.latency / 2)
        if fault in ("lost", "dropped"):
            raise MaybeSent("reset")
        pause = RETRY_AFTER if fault == "429+" else None
        if pause is not None and not self._world.is_dead:
            now = self.clock.monotonic()
            self._closed = (now, now + pause)
        return Answer(status, found, "", data, pause, sent_at, self.clock.monotonic(), found is not None)

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        pair = str(sorted(body.input.items()))
        fault = self._next_fault("submit")
        self._world.check_intent(ref)
        assert ref not in self._refs, "an attempt was sent twice"
        self._refs.add(ref)
        before = self.answered.setdefault(pair, [])
        self._check_again(before)

        def accept() -> tuple[int, Any]:
            now, took = self.clock.monotonic(), self.durations(self.dice)
            task_id = f"t{len(self.tasks)}"
            self.accepted[pair] += 1
            self.tasks[task_id] = (now, took, self.dice.random() < self.failing, body.to_json())
            before.append((fault or "accepted", task_id))
            self._plan_callbacks(task_id, ref, took)
            return 200, {"task_id": task_id}

        if fault in NEVER_TAKEN and fault != "unsent":
            before.append((fault, None))
        return await self._deal("submit", fault, accept)

    def _check_again(self, before: list[tuple[str, str | None]]) -> None:
        """Check invariant 2: a further attempt needs a clear refusal of the last one, or its failed task."""
        for fault, task_id in before:
            if task_id is None:
                assert fault not in UNCLEAR, f"sent again after {before}"
            else:
                started, took, fails, _ = self.tasks[task_id]
                assert fails, f"paid again after {before}"
                assert self.clock.monotonic() >= started + took
        assert sum(task_id is not None for _, task_id in before) < self._schedule.paid_attempts

    def _plan_callbacks(self, task_id: str, ref: str, took: float) -> None:
        if self._schedule.callbacks is None:
            return
        how = self._callbacks.popleft() if self._callbacks else "on time"
        delays = {"lost": (), "early": (0.0, took), "late": (took + 900.0,), "twice": (took, took, took + 1.0)}
        for delay in delays.get(how, (took,)):
            asyncio.get_running_loop().call_later(delay, self._call_back, task_id, ref, how)

    def _call_back(self, task_id: str, ref: str, how: str) -> None:
        info = self.info(task_id, self.clock.monotonic())
        match how:
            case "foreign":  # another task's callback to the URL of this attempt
                param = {"model": "video-face-swap", "input": {"video_url": "https://cdn.example/other.mp4"}}
                info = msgspec.structs.replace(info, task_id="other", param=param, status=wire.FAILED)
            case "nameless":
                info = msgspec.structs.replace(info, task_id="", status=wire.FAILED, param=None)
            case "nobody's":
                ref = "nobody"
        self._world.deliver(ref, info)

    async def task_info(self, remote_id: str) -> Answer:
        self._world.check_known(remote_id)
        return await super().task_info(remote_id)

    def busiest_of_all(self, period: float) -> int:
        """Return the maximum of requests, including refused ones, within any `period` seconds."""
        most = 0
        for i, at in enumerate(self.came):
            most = max(most, sum(1 for other in self.came[i : i + 100] if other < at + period))
        return most


def _bend(fault: str | None, code: int, data: Any) -> tuple[int, int | None, Any]:
    """Return HTTP status, the body's code (None: no envelope) and data, changed by the fault."""
    match fault:
        case "429+":
            return 429, 429, None
        case "hidden-429":
            return 200, 429, None
        case "not-taken-500":
            return 500, 500, None
        case "gateway" | "not-json":
            return 502 if fault == "gateway" else 200, None, None
        case "contradiction":
            return 500, 200, data
        case "named-429":
            return 429, 429, data
        case "no-id" | "empty":
            return 200, 200, {}
        case "bad-id":
            return 200, 200, {"task_id": "two words\n"}
        case "foreign":
            return 200, 200, {**(data or {}), "task_id": "other", "status": "failed"}
        case "odd":
            return 200, 200, {**(data or {}), "status": "Teleported"}
        case "no-media":
            return 200, 200, {**(data or {}), "status": "SUCCESS", "result": None}
        case str() if fault.isdigit():
            return int(fault), int(fault), None
        case _:
            return code, code, data


class FaultyDownloads(Shelf):
    """Results in memory, with faults in their downloads."""

    def __init__(self, schedule: Schedule, world: Witness) -> None:
        super().__init__()
        self._faults, self._world = deque(schedule.downloads), world

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        fault = self._faults.popleft() if self._faults else None
        await asyncio.sleep(0.5)
        if fault is not None:
            raise DownloadError(fault, "", stale=fault == "gone", final=fault == "too-large")
        return Verified(url, 1, "video/mp4")

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        self._world.check_verified(output, part)
        await super().publish(output, part, replaces=replaces)
        await asyncio.sleep(0.01)
