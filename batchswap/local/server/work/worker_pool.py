"""Worker processes for the server: each call runs in the next free process, and a process that dies is replaced."""

import asyncio
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.work import worker_process
from batchswap.local.server.work.engine_interface import Engine, InputInfo, open_private, produce

T = TypeVar("T")

LOOK_SECONDS = 120.0


class Workers:
    """`count` processes, each started when it is first needed. Their output goes to the file `log`."""

    def __init__(self, count: int, log: Path) -> None:
        self._idle = [Worker(log) for _ in range(count)]
        self._all = list(self._idle)
        self._waiting: deque[asyncio.Future[Worker]] = deque()

    async def run(
        self, function: Callable[..., T], *arguments: Any, culprit: str, limit: float, urgent: bool = False
    ) -> T:
        """Run `function(*arguments)` in a process. Raises EngineError, also after `limit` seconds of work.

        When the process dies, repeat the call once. An `urgent` call runs before all waiting calls.
        """
        mine = await self._take(urgent)
        try:
            async with asyncio.timeout(limit):
                try:
                    outcome = await mine.call(function, arguments)
                except EOFError:
                    outcome = await mine.call(function, arguments)
        except EOFError:
            raise EngineError(culprit, "the worker process died twice while processing it") from None
        except TimeoutError:
            raise EngineError(culprit, f"processing took longer than {limit:g} s") from None
        finally:
            self._give_back(mine)
        value: T = _unpack(outcome, culprit)
        return value

    async def close(self) -> None:
        """Kill all processes. Their calls fail."""
        await asyncio.gather(*(each.stop() for each in self._all))

    async def _take(self, urgent: bool) -> "Worker":
        if self._idle:
            return self._idle.pop()
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give_back(future.result())
            raise

    def _give_back(self, mine: "Worker") -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(mine)
                return
        self._idle.append(mine)


class Worker:
    """One process and the pipes to it."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run a call. Raises EOFError when the process dies. A cancelled call kills the process."""
        process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(worker_process.pack((function, arguments)))
            await process.stdin.drain()
            head = await process.stdout.readexactly(worker_process.LENGTH.size)
            return pickle.loads(await process.stdout.readexactly(worker_process.LENGTH.unpack(head)[0]))  # noqa: S301
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.stop()
            raise EOFError from None
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        if (process := self._process) is None:
            return
        self._process = None
        if process.returncode is None:
            process.kill()
        await process.communicate()  # reads to the end of the pipes and closes them

    async def _start(self) -> asyncio.subprocess.Process:
        # In a new session: Ctrl-C in the terminal must reach only the server.
        with open_private(self._log) as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", worker_process.__name__,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                start_new_session=True,
            )  # fmt: skip
        return self._process


def _unpack(outcome: tuple[Any, ...], culprit: str) -> Any:
    match outcome:
        case (worker_process.DONE, value):
            return value
        case (worker_process.UNFIT, who, message):
            raise EngineError(who, message)
        case (_, what):
            raise EngineError(culprit, f"the engine failed: {what}")
    raise AssertionError(outcome)


class EnginePool:
    """Processes that swap and detect, and one that examines inputs, so that CreateTask never waits for swaps."""

    def __init__(self, settings: ServerSettings, engine: Engine) -> None:
        self._engine, self._limit = engine, settings.task_timeout
        count = settings.count_workers()
        log = settings.folder / "workers.log"
        self._workers, self._examiner = Workers(count, log), Workers(1, log)
        self.threads = max(1, len(os.sched_getaffinity(0)) // count)

    async def look(self, path: Path, culprit: str) -> InputInfo:
        return await self._examiner.run(self._engine.look, path, culprit, culprit=culprit, limit=LOOK_SECONDS)

    async def detect(self, path: Path, folder: Path, culprit: str) -> tuple[tuple[int, Path], ...]:
        """Detect faces before all waiting swaps, because the caller waits for the result."""
        return await self._workers.run(
            self._engine.detect, path, folder, self.threads, culprit=culprit, limit=self._limit, urgent=True
        )

    async def produce(self, job: SwapJob, result: Path, culprit: str) -> str:
        """Return the engine's remark when `result` is complete and on the disk."""
        return await self._workers.run(produce, self._engine, job, result, culprit=culprit, limit=self._limit)

    async def close(self) -> None:
        """Kill all processes."""
        await self._workers.close()
        await self._examiner.close()
