"""Worker processes: each call runs in the next free process, and a process that dies is replaced."""

import asyncio
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from batchswap.errors import EngineError
from batchswap.workers import worker_process

T = TypeVar("T")

WITHHELD = (
    *("CRUN_API_KEY", "BATCHSWAP_SERVE_KEY", "BATCHSWAP_WEBHOOK_SECRET"),
    *(f"BATCHSWAP_{option}" for option in ("NOTIFY", "PING_URL", "WEBHOOK_URL", "PROXY")),
)
"""Variables that are secrets."""


class CallFailed(Exception):
    """A call had no result, and its arguments are not to blame: the process died, took too long, or has a bug."""


class Workers:
    """`count` processes, each started when it is first needed. Their output goes to the file `log`, if there is one.

    A process with a `niceness` gives way to others. After `calls` calls it is replaced, so that no library can use more
    and more memory; 0: never.
    """

    def __init__(self, count: int, log: Path | None = None, *, niceness: int = 0, calls: int = 0) -> None:
        self._idle = [Worker(log, niceness, calls) for _ in range(count)]
        self._all = list(self._idle)
        self._waiting: deque[asyncio.Future[Worker]] = deque()

    async def run(self, function: Callable[..., T], *arguments: Any, limit: float, urgent: bool = False) -> T:
        """Run `function(*arguments)` in a process. Raise its EngineError, or CallFailed, also after `limit` seconds.

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
            raise CallFailed("the worker process died twice while processing it") from None
        except TimeoutError:
            raise CallFailed(f"processing took longer than {limit:g} s") from None
        except OSError as error:  # such as too many processes or open files
            raise CallFailed(f"no worker process could be used: {error.strerror or error}") from None
        finally:
            self._give_back(mine)
        value: T = _unpack(outcome)
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

    def __init__(self, log: Path | None, niceness: int, most_calls: int) -> None:
        self._log, self._niceness, self._most_calls = log, niceness, most_calls
        self._process: asyncio.subprocess.Process | None = None
        self._calls = 0

    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run a call. Raises EOFError when the process dies. A cancelled call kills the process."""
        if self._most_calls and self._calls >= self._most_calls:
            await self.stop()
        process = self._process or await self._start()
        self._calls += 1
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
        # In a new session: Ctrl-C in the terminal must reach only the parent.
        self._calls = 0
        with open_private(self._log or Path(os.devnull)) as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", worker_process.__name__, str(self._niceness),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=environment_of(os.environ),
                start_new_session=True,
            )  # fmt: skip
        return self._process


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker, which reads media of strangers: it has no secrets.

    Modules are found where this process finds them, and not in the working directory (-P).
    """
    kept = {name: value for name, value in environ.items() if name not in WITHHELD}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def open_private(path: Path) -> BinaryIO:
    """Open a file for appending. Only this user can read it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _unpack(outcome: tuple[Any, ...]) -> Any:
    match outcome:
        case (worker_process.DONE, value):
            return value
        case (worker_process.UNFIT, who, message):
            raise EngineError(who, message)
        case (_, what):
            raise CallFailed(f"the engine failed: {what}")
    raise AssertionError(outcome)
