"""Follow a request on its way: whether it was sent, and whether its answer may have arrived."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp


class CancelledUnsent(asyncio.CancelledError):
    """A request was cancelled before it had a connection: nothing was sent."""


class Journey:
    """One request. If `has_begun`, it has a connection, so something may have been sent.

    `response` and `received` are the part of the answer so far, which may contain a task id when the time is over.
    """

    has_begun = False
    response: aiohttp.ClientResponse | None = None

    def __init__(self) -> None:
        self.received = bytearray()


def tracing() -> aiohttp.TraceConfig:
    """Mark each request's journey as soon as it has a connection, before anything is written to it."""
    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(_begin)
    config.on_connection_reuseconn.append(_begin)
    return config


async def _begin(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
    journey = getattr(context, "trace_request_ctx", None)
    if isinstance(journey, Journey):
        journey.has_begun = True


@asynccontextmanager
async def awake(seconds: float, grace: float) -> AsyncIterator[None]:
    """Raise TimeoutError after `seconds`, but only when the event loop has read the data that has arrived.

    After a pause (SIGSTOP, or a laptop that sleeps), the time is over while the answer waits in the socket. So
    `grace` seconds are added, and added again if another pause exceeds them.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as scope:

        def prolong() -> None:
            until = loop.time() + grace
            timer[0] = loop.call_at(until, end, until)

        def end(due: float) -> None:
            if loop.time() - due > grace:
                prolong()
            else:
                scope.reschedule(loop.time())

        timer = [loop.call_later(seconds, prolong)]
        try:
            yield
        finally:
            timer[0].cancel()
