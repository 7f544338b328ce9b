"""The clock that is passed to code which depends on the time."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Protocol

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_FOLDERS = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo")
"""Where systems keep their time zones."""


class Clock(Protocol):
    """Time in seconds: `now` for people and the API, `monotonic` for waiting and pacing."""

    def now(self) -> float:
        """Return Unix time in seconds. It jumps when the machine's clock is set."""

    def monotonic(self) -> float:
        """Return seconds that never jump back, the same in all processes of this machine until it restarts.

        They include the time in which the machine slept, because the API continues meanwhile: its tasks, its windows
        and the pauses that it asked for.
        """

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return elapsed()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def elapsed() -> float:
    """Return the seconds since the machine started, with those in which it slept. `time.monotonic` leaves these out."""
    return time.clock_gettime(_CLOCK)


def unknown_zone() -> str:
    """Return TZ if this machine does not know that time zone, and therefore shows UTC; "" otherwise.

    Small containers have no time zones at all.
    """
    name = os.environ.get("TZ", "").removeprefix(":")
    is_rule = re.match(r"([A-Za-z]{3,}|<[-+\w]+>)[-+]?\d", name) is not None
    if is_rule or name.removeprefix("Etc/") in ("", "UTC", "GMT", "UCT", "Zulu", "Universal", "localtime"):
        return ""
    folders = [folder for folder in (os.environ.get("TZDIR"), *_FOLDERS) if folder]
    return "" if any(Path(folder, name).is_file() for folder in folders) else name
