"""The clock that is passed to code which depends on the time."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time in seconds: `now` for people and the API, `monotonic` for waiting and pacing."""

    def now(self) -> float:
        """Return Unix time in seconds. It jumps when the machine's clock is set."""

    def monotonic(self) -> float:
        """Return seconds that never jump, the same in all processes of this machine until it restarts."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
