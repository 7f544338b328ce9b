"""Time that jumps to the next timer: hours pass in milliseconds. Not for real sockets or other threads."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import pytest

T = TypeVar("T")
P = ParamSpec("P")

START = 1_790_000_000.0
"""Unix time when a virtual loop's own time is 0."""

STUCK = 60.0
"""Seconds of real time after which a loop without a timer is taken for one that waits for ever."""


class _Jumping(selectors.DefaultSelector):
    """A selector that never waits for time: it moves it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            woken = list(super().select(STUCK))
            assert woken, f"nothing is left that could happen, and for {STUCK:g} s no thread has reported either"
            return woken
        ready = list(super().select(0))
        if not ready:
            # At least a microsecond a turn: asyncio fires timers a hair early, and time must then still move.
            self.now += max(timeout, 1e-6)
        return ready


class JumpLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """A clock that reads the running loop's time."""

    def now(self) -> float:
        return START + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Inline(Executor):
    """Runs work where it is submitted: virtual time must not pass while another thread works."""

    killed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(self._work(lambda: fn(*args, **kwargs)))
        except Exception as error:  # handed to the waiter, as an executor does
            future.set_exception(error)
        return future

    def _work(self, work: Callable[[], T]) -> T:
        if self.killed:
            raise OSError("killed")
        return work()


def on_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a coroutine test one that Hypothesis can call with each of its examples."""

    @functools.wraps(test)
    def run_one(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_one


def run(coro: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on virtual time."""
    with asyncio.Runner(loop_factory=JumpLoop) as runner:
        return runner.run(coro)


@contextmanager
def inline_threads() -> Iterator[None]:
    """Do the work of `asyncio.to_thread` without a thread, so that virtual time does not pass meanwhile."""

    async def at_once(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "to_thread", at_once)
        yield
