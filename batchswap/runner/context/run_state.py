"""The state of a run: whether it still submits or sends, the loop's wake-up, and request counts."""

import asyncio
import logging
from collections import Counter, defaultdict
from math import inf

from batchswap.clock import Clock
from batchswap.errors import Ending, Exit
from batchswap.events import LogEvent, Report
from batchswap.ledger.runs.ticks import RefusalCount
from batchswap.ledger.runs.traffic import REQUEST_SECONDS, REQUESTS, WAIT_SECONDS, Total
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
        """Set when submitting stops, and when the run ends. Waits end then."""
        self.turns = Turns(self.wake)
        self.is_short = False
        """Whether the budget is too small for another task until one has ended."""
        self.is_storage_tried = False
        """Whether --out was tested. Nothing is submitted before that."""
        self.media_trouble = ""
        """The reason why downloads wait."""
        self.last: Ending | None = None
        """How the tick before this one ended."""
        self.refusals: dict[str, RefusalCount] = {}
        """The equal failures in a row: of rows in their preparation, and of submits."""
        self.delivering = 0
        """Complete results that are examined, labelled and signed, or wait for that."""
        self._wakeup = asyncio.Event()

    def wake(self) -> None:
        """Make the loop choose again, because something changed."""
        self._wakeup.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, at most `seconds`."""
        try:
            async with asyncio.timeout(None if seconds == inf else max(seconds, 0.0)):
                await self._wakeup.wait()
        except TimeoutError:
            pass
        self._wakeup.clear()

    def stop_submits(self, stop: Stop) -> None:
        """Submit nothing more. Running tasks are still collected."""
        if self.submit_stop is None:
            self.submit_stop = stop
            self.add_stop(stop, level=logging.INFO if stop.exit is Exit.DEADLINE else logging.WARNING)
        self.submits_over.set()
        self.wake()

    def add_stop(self, stop: Stop, *, level: int = logging.WARNING) -> None:
        """Add a reason for the exit code and report it."""
        self.stops.append(stop)
        if self.last is not None and self.last.had(stop.exit, stop.words):
            level = logging.INFO
        cause = {"cause": stop.cause} if stop.cause else {}
        self._report(LogEvent.RUN_STOPPING, stop.words, level, exit=stop.exit, **cause)

    def stop_run(self, stop: Stop) -> None:
        """Send nothing more and end the run. A refusal of the account is reported, because it says what to do."""
        if self.run_stop is None:
            self.run_stop = stop
            if stop.exit is Exit.REFUSED:
                self.add_stop(stop)
            else:
                self.stops.append(stop)
        self.submits_over.set()
        self.over.set()
        self.turns.end()
        self.wake()

    def note_short(self, *, is_short: bool) -> None:
        """Note whether the budget must wait until a task has ended."""
        self.is_short = is_short

    def note_media_trouble(self, words: str) -> None:
        """Note why downloads wait; "" when they no longer do."""
        self.media_trouble = words

    def recall(self, refusals: dict[str, RefusalCount], last: Ending | None) -> None:
        """Continue where the tick before has ended: count further refusals, and repeat no warning."""
        self.refusals, self.last = refusals, last

    def note_delivery(self, change: int) -> None:
        """Note that an examination or a signature began (+1) or ended (-1)."""
        self.delivering += change


class Refusals:
    """Stops submitting after `most` equal failures in a row, which have one cause. `what` is a noun in the plural."""

    def __init__(self, state: RunState, most: int, what: str) -> None:
        self._state, self._most, self._what = state, most, what

    def note(self, code: str, how: str = "refused") -> None:
        """Count a failure."""
        before, count = self._state.refusals.get(self._what, ("", 0))
        count = count + 1 if code == before else 1
        self._state.refusals[self._what] = code, count
        if count >= self._most:
            words = f"{count} {self._what} in a row {how} as {code}: nothing more is submitted"
            self._state.stop_submits(Stop(Exit.FAILED, words, "refusals"))

    def clear(self) -> None:
        """Reset the count, because one succeeded."""
        self._state.refusals.pop(self._what, None)


class Traffic:
    """Counts requests by kind, in total (`requests`) and for each second, and by outcome."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began, self._began_at = clock.now(), clock.monotonic()
        self.requests = Counter[str]()
        self._by_second = Counter[tuple[int, str]]()
        self._totals = defaultdict[Total, float](float)
        self._waited = 0.0

    def count(self, kind: str) -> None:
        """Count a request or an answer of a kind."""
        self.requests[kind] += 1
        self.note(kind)

    def note(self, kind: str) -> None:
        """Count for the chart only. The seconds follow the monotonic clock, in case the wall clock is set."""
        self._by_second[int(self._began + self._clock.monotonic() - self._began_at), kind] += 1

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a request that has ended, and the seconds that it took."""
        self._totals[Total(REQUESTS, kind, outcome)] += 1
        self._totals[Total(REQUEST_SECONDS, kind, outcome)] += max(0.0, seconds)

    def take_totals(self, waited: float) -> dict[Total, float]:
        """Return the totals since the last call. `waited`: the seconds that the run has waited for the API so far."""
        taken = dict(self._totals)
        self._totals.clear()
        if waited > self._waited:
            taken[Total(WAIT_SECONDS)] = waited - self._waited
            self._waited = waited
        return taken

    def take(self) -> dict[tuple[int, str], int]:
        """Return the counts since the last call, by second and kind."""
        taken = dict(self._by_second)
        self._by_second.clear()
        return taken
