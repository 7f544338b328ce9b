"""The time, told to everything that must not look at it itself."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds. `now` is Unix time, for people and for the API; `monotonic` never jumps, for waiting and pacing."""

    def now(self) -> float:
        """Unix time in seconds. May jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since some start; the same for all processes of this machine until it restarts."""

    async def sleep(self, seconds: float) -> None:
        """Come back after `seconds`."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
