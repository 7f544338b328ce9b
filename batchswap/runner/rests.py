"""Waits before something is tried again, which end early when nobody will need it any longer."""

import asyncio
from contextlib import suppress


async def rest(seconds: float, over: asyncio.Event) -> bool:
    """Whether it is time to try again: False at once when `over` is set, before or meanwhile."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await over.wait()
    return not over.is_set()
