"""Let a process believe that the machine has slept. The process finds this file on its PYTHONPATH.

While the file ASLEEP_FILE exists, the wall clock and CLOCK_BOOTTIME show the seconds that it holds more. Timers and
CLOCK_MONOTONIC are as they were, as after a suspend.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

_FILE = Path(os.environ["ASLEEP_FILE"])
_wall, _clock = time.time, time.clock_gettime


def _slept() -> float:
    try:
        return float(_FILE.read_text())
    except (OSError, ValueError):
        return 0.0


def _time() -> float:
    return _wall() + _slept()


def _clock_gettime(which: int) -> float:
    return _clock(which) + (_slept() if which == time.CLOCK_BOOTTIME else 0.0)


time.time = _time
time.clock_gettime = _clock_gettime
_: Callable[[], float] = time.time
