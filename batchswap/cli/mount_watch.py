"""Report the file systems that a command waits for, such as a network share whose server is away.

A thread looks once a second whether any other thread has been in one call for some seconds. Only then does it ask the
mounted file systems for their size, each in a thread of its own, and reports those that do not answer. A call to a hung
file system cannot be interrupted: the main thread never runs its handlers of signals, so this thread ends the process.
"""

import _thread
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from batchswap.errors import Exit

if TYPE_CHECKING:
    from types import FrameType

Say = Callable[[str, str], None]
"""Reports an event with a sentence."""

PAUSE = 1.0
STUCK = 3.0
"""Seconds in one call from which a thread may be stuck."""
ANSWER = 2.0
"""Seconds that a file system gets to answer."""
REMIND = 60.0
ENDS = {2: Exit.INTERRUPTED, 15: Exit.TERMINATED, 1: Exit.TERMINATED}
"""The exit code after SIGINT, SIGTERM and SIGHUP: importing `signal` would slow down `--help`."""
AWAY, BACK = "file-system-away", "file-system-back"
_IDLE = ("selectors.py", "threading.py", "queue.py", "concurrent/futures/thread.py", "mount_watch.py")
"""Files of functions in which a thread waits for other threads, or for the network."""


class MountWatch:
    """Watches the threads of this process."""

    def __init__(self, say: Say, *, places: Callable[[], list[str]] | None = None) -> None:
        """`places` returns the mount points to ask."""
        self._say, self._places = say, places or mount_points
        self._main = _thread.get_ident()
        self._seen: dict[int, tuple[int, int, float]] = {}
        """For each thread, its innermost call and since when it has been in it."""
        self._asked: dict[str, float] = {}
        """When each file system was asked that has not answered yet."""
        self._reported: dict[str, float] = {}
        self._ask_at = 0.0
        self._signal: int | None = None
        """A signal that the main thread cannot handle, because it is stuck."""
        self._is_over = False

    def start(self) -> None:
        """Start to watch. A command that ends soon pays for one thread, which sleeps."""
        _thread.start_new_thread(self._watch, ())

    def end(self) -> bool:
        """Stop watching. Return whether a file system that was reported still does not answer."""
        self._is_over = True
        return any(place in self._asked for place in self._reported)

    def _watch(self) -> None:
        time.sleep(PAUSE)
        while not self._is_over:
            self.look(time.monotonic())
            time.sleep(PAUSE)

    def look(self, now: float) -> None:
        """Ask the file systems if a thread is stuck, and report changes."""
        for place in [place for place in self._reported if place not in self._asked]:
            del self._reported[place]
            self._say(BACK, f"{place}: its file system answers again")
        stuck = {thread for thread, since in self._calls(now) if now - since >= STUCK}
        # Before a thread is started: the new thread would take the signal, and run a handler that only sets a flag.
        self._signal = (self._signal or pending_signal()) if self._main in stuck else None
        if stuck and now >= self._ask_at:
            self._ask_at = now + STUCK
            for place in self._places():
                if place not in self._asked:
                    self._asked[place] = now
                    _thread.start_new_thread(self._ask, (place,))
        for place, asked in [*self._asked.items()]:
            if now - asked >= ANSWER and now - self._reported.get(place, -REMIND) >= REMIND:
                self._reported[place] = now
                self._say(AWAY, f"waiting for {place}: its file system does not answer (a network share that is away?)")
        if self._reported and self._signal is not None:
            self._say(AWAY, "ended by a signal, while a file system did not answer")
            os._exit(ENDS[self._signal])

    def _ask(self, place: str) -> None:
        try:
            os.statvfs(place)
        except OSError:
            pass  # an error is an answer
        finally:
            self._asked.pop(place, None)

    def _calls(self, now: float) -> Iterator[tuple[int, float]]:
        """Yield each thread that is in a call, and since when."""
        seen: dict[int, tuple[int, int, float]] = {}
        for thread, frame in sys._current_frames().items():  # noqa: SLF001 - a documented function
            if not _is_idle(frame):
                call, place, since = self._seen.get(thread, (0, 0, now))
                since = since if (call, place) == (id(frame), frame.f_lasti) else now
                seen[thread] = id(frame), frame.f_lasti, since
                yield thread, since
        self._seen = seen


def _is_idle(frame: "FrameType") -> bool:
    return frame.f_code.co_filename.endswith(_IDLE)


def mount_points() -> list[str]:
    """Return the places of file systems that may be away."""
    from batchswap.mounts import parse

    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
            return list({each.place: None for each in parse(file.read()) if each.may_be_away})
    except OSError:
        return []


def pending_signal() -> int | None:
    """Return the number of a signal that has been sent to this process and waits for a handler."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            sets = [line.split()[1] for line in file if line.startswith("ShdPnd:")]
    except OSError:
        return None
    waiting = int(sets[0], 16) if sets else 0
    return next((number for number in ENDS if waiting >> (number - 1) & 1), None)
