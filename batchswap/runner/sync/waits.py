"""Waits that an event can end early, and locks by name."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def rest(seconds: float, over: asyncio.Event) -> bool:
    """Wait for `seconds` and return True. Return False as soon as `over` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await over.wait()
    return not over.is_set()


async def unless(over: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`, or None if `over` is set first, which cancels it."""
    both = asyncio.ensure_future(work), asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return both[0].result() if both[0].done() else None
    finally:
        for each in both:
            each.cancel()
        await asyncio.wait(both)


class Locks:
    """Locks by name. A lock is dropped with its last holder, because a batch may contain a million files."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[asyncio.Lock, int]] = {}
        """Each lock, with the number of its holders and waiters."""

    def __len__(self) -> int:
        return len(self._held)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        lock, users = self._held.get(name, (asyncio.Lock(), 0))
        self._held[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._held.pop(name)
            if users > 1:
                self._held[name] = lock, users - 1
