"""Shared by the tests of the client: make one call to a scripted server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from batchswap import wire
from batchswap.client import Answer, Client, Timeouts
from batchswap.clock import SystemClock
from batchswap.errors import MaybeSent, NeverSent
from tests.http.scripted import Act, Scripted

KEY = "ak_SECRETSECRETSECRETSECRETSECRET12"
SIGNED = "/put?X-Signature=SIGNATURE&X-Token=TOKEN"
HASTY = Timeouts(connect=0.2, answer=0.1, submit=0.1, stall=0.2, grace=0.05)
"""For calls that should time out."""
CALM = Timeouts(connect=10, answer=10, submit=10, stall=10)
"""For other calls: a busy machine must not fail a test."""
BODY = wire.CreateTask("video-face-swap", {"video_url": "https://x/v.mp4", "new_face": "https://x/f.png"})

Call = Callable[[Client], Awaitable[Answer]]


def submit(client: Client) -> Awaitable[Answer]:
    return client.create_task(BODY, "ref-1")


async def ask(
    call: Call, *script: Act, timeouts: Timeouts = CALM, **options: Any
) -> tuple[Answer | Exception, Scripted]:
    """Return the answer or the error of one call, and the server."""
    async with Scripted(*script, **options) as server, Client(server.url, KEY, SystemClock(), timeouts) as client:
        try:
            return await call(client), server
        except (NeverSent, MaybeSent) as error:
            return error, server


def answered(call: Call, *script: Act, **options: Any) -> tuple[Answer, Scripted]:
    found, server = asyncio.run(ask(call, *script, **options))
    assert isinstance(found, Answer), found
    return found, server
