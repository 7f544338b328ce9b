"""Whose turn it is among the free calls that wait for a place in the key's window, and among the workers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from batchswap.runner.stop_reasons import Stopped


class Turns:
    """The calls that wait, in the order in which they came. Who has a turn is a worker until the call is over."""

    def __init__(self, nudge: Callable[[], None]) -> None:
        """`nudge` tells who gives turns that one is wanted."""
        self._nudge = nudge
        self._waiting: deque[tuple[asyncio.Future[None], asyncio.Event]] = deque()
        """What comes when it is each one's turn, and what it sets at its end."""
        self._are_over = False

    def __bool__(self) -> bool:
        """Whether any call waits."""
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()  # cancelled
        return bool(self._waiting)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """A turn, for one request within the context. Raises Stopped when nothing more is sent."""
        if self._are_over:
            raise Stopped
        come, over = asyncio.get_running_loop().create_future(), asyncio.Event()
        self._waiting.append((come, over))
        self._nudge()
        try:
            await come
            yield
        finally:
            over.set()

    async def give(self) -> None:
        """A turn to the first who waits. Comes back when the call is over."""
        if self:
            come, over = self._waiting.popleft()
            come.set_result(None)
            await over.wait()

    def end(self) -> None:
        """There are no more turns."""
        self._are_over = True
        while self:
            come, _ = self._waiting.popleft()
            come.set_exception(Stopped())
