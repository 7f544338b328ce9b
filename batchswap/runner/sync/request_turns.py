"""Turns of the free calls that wait for a place in the key's window and for a worker."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from batchswap.runner.stop_reasons import Stopped


class Turns:
    """The waiting calls, first come, first served. A call occupies a worker during its turn."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` notifies the loop, which gives the turns."""
        self._wake = wake
        self._waiting: deque[tuple[asyncio.Future[None], asyncio.Event]] = deque()
        """For each call, the future that starts its turn and the event that ends it."""
        self._are_over = False

    def __bool__(self) -> bool:
        """Return whether a call waits."""
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()  # cancelled
        return bool(self._waiting)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn for one request within the context. Raise Stopped if the run ends."""
        if self._are_over:
            raise Stopped
        come, over = asyncio.get_running_loop().create_future(), asyncio.Event()
        self._waiting.append((come, over))
        self._wake()
        try:
            await come
            yield
        finally:
            over.set()

    async def give(self) -> None:
        """Give a turn to the first waiting call, and wait for its end."""
        if self:
            come, over = self._waiting.popleft()
            come.set_result(None)
            await over.wait()

    def end(self) -> None:
        """Stop all waiting calls, and give no more turns."""
        self._are_over = True
        while self:
            come, _ = self._waiting.popleft()
            come.set_exception(Stopped())
