"""Whether a run still submits, or still sends at all, what wakes its loop, and how many requests have left."""

import asyncio
import logging
from collections import Counter
from math import inf

from batchswap.clock import Clock
from batchswap.errors import Exit
from batchswap.events import LogEvent, Report
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.sync.request_turns import Turns


class RunState:
    """Shared by the loop and its steps, all on one event loop."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.submit_stop: Stop | None = None
        self.run_stop: Stop | None = None
        self.stops: list[Stop] = []
        self.submits_over, self.over = asyncio.Event(), asyncio.Event()
        """Set when nothing more is submitted, and when nothing more is sent at all. Waits end then."""
        self.turns = Turns(self.wake)
        self.is_short = False
        """Whether the budget has too little for one more task until another has ended."""
        self.is_storage_tried = False
        """Whether --out has been tried out. Nothing is submitted before."""
        self.media_trouble = ""
        """Why results wait, in words."""
        self._wakeup = asyncio.Event()

    def wake(self) -> None:
        """Let the loop look again: something changed."""
        self._wakeup.set()

    async def wait(self, seconds: float) -> None:
        """Return when something changes, after `seconds` at the latest."""
        try:
            async with asyncio.timeout(None if seconds == inf else max(seconds, 0.0)):
                await self._wakeup.wait()
        except TimeoutError:
            pass
        self._wakeup.clear()

    def stop_submits(self, stop: Stop) -> None:
        """Submit nothing more; what runs is still collected."""
        if self.submit_stop is None:
            self.submit_stop = stop
            self.add_stop(stop, level=logging.INFO if stop.exit is Exit.DEADLINE else logging.WARNING)
        self.submits_over.set()
        self.wake()

    def add_stop(self, stop: Stop, *, level: int = logging.WARNING) -> None:
        """Report a reason that decides about the exit code."""
        self.stops.append(stop)
        self._report(LogEvent.RUN_STOPPING, stop.words, level, exit=stop.exit)

    def stop_run(self, stop: Stop) -> None:
        """Send nothing more at all."""
        if self.run_stop is None:
            self.run_stop = stop
            self.stops.append(stop)
        self.submits_over.set()
        self.over.set()
        self.turns.end()
        self.wake()

    def note_short(self, *, is_short: bool) -> None:
        """Note whether the budget has to wait until another task has ended."""
        self.is_short = is_short

    def note_media_trouble(self, words: str) -> None:
        """Note why results wait; "" when they do no longer."""
        self.media_trouble = words


class Refusals:
    """Stops submits after `most` of the same failure in a row: they are one mistake. `what` fails, in the plural."""

    def __init__(self, state: RunState, most: int, what: str) -> None:
        self._state, self._most, self._what = state, most, what
        self._code, self._count = "", 0

    def note(self, code: str, how: str = "refused") -> None:
        """One more was refused, or has failed."""
        self._count = self._count + 1 if code == self._code else 1
        self._code = code
        if self._count >= self._most:
            words = f"{self._count} {self._what} in a row {how} as {code}: stopped"
            self._state.stop_submits(Stop(Exit.FAILED, words))

    def clear(self) -> None:
        """One was not."""
        self._code, self._count = "", 0


class Traffic:
    """How many requests of which kind have left, and in which second. `requests`: by kind, for the summary."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began, self._began_at = clock.now(), clock.monotonic()
        self.requests = Counter[str]()
        self._by_second = Counter[tuple[int, str]]()

    def count(self, kind: str) -> None:
        """Count a request, or an answer of a kind."""
        self.requests[kind] += 1
        self.note(kind)

    def note(self, kind: str) -> None:
        """Count it for the chart alone, by the monotonic clock, so that setting the clock bends nothing."""
        self._by_second[int(self._began + self._clock.monotonic() - self._began_at), kind] += 1

    def take(self) -> dict[tuple[int, str], int]:
        """Return what was counted since the last call, by second and kind."""
        taken = dict(self._by_second)
        self._by_second.clear()
        return taken
