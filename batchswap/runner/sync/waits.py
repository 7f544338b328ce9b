"""Waits that end early when nobody will need what is waited for any longer."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def rest(seconds: float, over: asyncio.Event) -> bool:
    """Whether it is time to try again: False at once when `over` is set, before or meanwhile."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await over.wait()
    return not over.is_set()


async def unless(over: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns. None when `over` is set first: then the work is cut off."""
    both = asyncio.ensure_future(work), asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return both[0].result() if both[0].done() else None
    finally:
        for each in both:
            each.cancel()
        await asyncio.wait(both)
