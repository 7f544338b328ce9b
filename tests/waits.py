"""Waits of tests: each ends with what it waits for, or fails with a message that names it."""

import asyncio
import select
import time
from collections.abc import Callable
from typing import IO, TypeVar

T = TypeVar("T")

LONG = 30.0
"""Seconds that are enough on a busy machine for whatever takes a moment."""


def wait_until(condition: Callable[[], T], what: str, seconds: float = LONG, pause: float = 0.01) -> T:
    """Return what the condition gives as soon as it is true; fail after `seconds` without `what`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(pause)
    return found


async def until(condition: Callable[[], T], what: str, seconds: float = LONG, pause: float = 0.01) -> T:
    """Do the same in a coroutine, in the time of its loop, which may be virtual."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (found := condition()):
        assert loop.time() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(pause)
    return found


def first_line(stream: IO[str] | None, seconds: float = LONG) -> str:
    """Return the first line that a process prints; fail after `seconds` without one."""
    assert stream is not None, "the process has no pipe to read from"
    assert select.select([stream], [], [], seconds)[0], f"nothing was printed within {seconds:g} s"
    return stream.readline().strip()
