"""What everybody who works at a run shares: the record, the pacer, the agenda, the counts, and the reasons to stop."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, TypeVar

from batchswap import verdicts
from batchswap.client import Answer
from batchswap.clock import Clock
from batchswap.errors import Exit, MaybeSent, NeverSent
from batchswap.ledger.submission_log.log import NoLog, SubmissionLog
from batchswap.polling import Agenda
from batchswap.runner.callback_inbox import CallbackInbox, Calls
from batchswap.runner.interfaces import Api, Pacer, Store
from batchswap.runner.ledger import RunLedger
from batchswap.runner.patience import Patience
from batchswap.runner.stop_reasons import Stop, refusal_words
from batchswap.runner.sync.request_turns import Turns
from batchswap.settings import Settings
from batchswap.tasks import Attempt
from batchswap.verdicts import Kind, Verdict

T = TypeVar("T")

PROBE_EVERY = 60.0
"""Seconds between two looks whether a maintenance, or a long pause that was asked for, is over."""

SOON = 10.0
"""Seconds that an API which was never reached gets at least: many calls that fail in one moment tell one thing.
Of one that was reached, it is said after so many that it answers nobody."""

Doubt = tuple[Attempt, float | None]
"""A submit without a clear answer, and the balance before it, if nothing else was in flight."""


class Desk:
    """Shared by the loop and its steps, all on one event loop. Times are the clock's monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        *,
        api: Api,
        pacer: Pacer,
        store: Store,
        ledger: RunLedger,
        clock: Clock,
        account: str,
        owner: str,
        is_idempotent: bool,
        calls: Calls | None,
        say: Callable[[str], None],
        warn: Callable[[str], None],
        log: SubmissionLog | NoLog | None = None,
    ) -> None:
        self.settings, self.api, self.pacer, self.store = settings, api, pacer, store
        self.ledger, self.clock = ledger, clock
        self.say, self.warn = say, warn
        """What goes on, and what concerns money or may be lost: `warn` is shown even with --quiet."""
        self.account = account
        self.log = log or NoLog()
        self.owner = owner
        """What uploads and detections belong to: the key's account, and not every key of the base URL."""
        self._began, self._began_at = clock.now(), clock.monotonic()
        self.agenda = Agenda(expects_calls=calls is not None)
        self.inbox = CallbackInbox(calls)
        self.requests: Counter[str] = Counter()
        self.traffic: Counter[tuple[int, str]] = Counter()
        self.balance: float | None = None
        self.no_submits: Stop | None = None
        self.ending: Stop | None = None
        self.stops: list[Stop] = []
        self.submits_over, self.over = asyncio.Event(), asyncio.Event()
        """Set when nothing more is submitted, and when nothing more is sent at all: who rests for it then stops."""
        self.is_idempotent = is_idempotent
        self.quiet_balance: float | None = None
        """The account's balance, if nothing was submitted since it was read."""
        self.is_quiet: Callable[[], bool] = lambda: False
        """Whether nothing else is in flight."""
        self.is_ledger_well: Callable[[], Coroutine[Any, Any, bool]] = _is_well
        """Whether the ledger is still where it was: asked before each submit."""
        self.in_doubt: list[Doubt] = []
        """Nothing is submitted before a look at the balance."""
        self.unclear = 0
        """Looks at the balance since a submit last got a clear answer."""
        self.is_short = False
        """Whether the budget has too little for one more task until another has ended."""
        self.turns = Turns(self.nudge)
        self.probe_at = inf
        """When to look whether the maintenance, or the long pause, is over; inf: there is none."""
        self.patience = Patience(settings.patience)
        self._wakeup = asyncio.Event()
        self._troubles = self._pushes = 0
        self._trouble_since = inf
        self.good_at = self.looked_at = -inf
        """When the API last gave a good answer, and when somebody asked for its balance to see whether it gives any."""
        self.served_at = -inf
        """When the last request left that got a good answer."""
        self._trouble_words = self.media_trouble = ""
        self._reached = self._is_outage = False

    def nudge(self) -> None:
        """Something changed that the loop may be waiting for."""
        self._wakeup.set()

    async def wait(self, seconds: float) -> None:
        """Until something changes, at most `seconds`."""
        try:
            async with asyncio.timeout(None if seconds == inf else max(seconds, 0.0)):
                await self._wakeup.wait()
        except TimeoutError:
            pass
        self._wakeup.clear()

    def stop_submits(self, stop: Stop) -> None:
        """Nothing more is submitted; what runs is still collected."""
        if self.no_submits is None:
            self.no_submits = stop
            self.stops.append(stop)
            (self.say if stop.exit is Exit.DEADLINE else self.warn)(stop.words)
        self.submits_over.set()
        self.nudge()

    def end(self, stop: Stop) -> None:
        """Nothing more is sent at all."""
        if self.ending is None:
            self.ending = stop
            self.stops.append(stop)
        self.submits_over.set()
        self.over.set()
        self.turns.end()
        self.nudge()

    def doubt(self, attempt: Attempt, before: float | None) -> None:
        """A submit got no clear answer. `before`: the balance before it, if nothing else was in flight."""
        self.in_doubt.append((attempt, before))
        self.nudge()

    def count(self, kind: str) -> None:
        """One request of a kind leaves: for the summary, and by the second for the picture of the run."""
        self.requests[kind] += 1
        self.note_traffic(kind)

    @contextmanager
    def calling(self, kind: str) -> Iterator[None]:
        """One request of a kind leaves, and is answered or not within the context."""
        self.count(kind)
        is_tried = self.patience.ends_at() < inf
        call, answered = self.patience.begin(self.clock.monotonic()), True
        if not is_tried:
            self.nudge()  # the loop waits until then from now on
        try:
            yield
        except (NeverSent, MaybeSent):
            answered = False
            raise
        finally:
            self.patience.end(call, answered=answered)

    def note_traffic(self, kind: str) -> None:
        """By the watch from the run's start, so that no setting of the clock bends the picture."""
        self.traffic[int(self._began + self.clock.monotonic() - self._began_at), kind] += 1

    def backoff(self, tries: int) -> float:
        return verdicts.backoff(tries, random.random())

    # What an answer, or the lack of one, means for everybody.

    def heard(self, verdict: Verdict, answer: Answer) -> None:
        """Act on what an answer says of the whole key: go on, slow down, wait, or end."""
        self.pacer.heard(answer.sent_at, answer.answered_at)
        match verdict.kind:
            case Kind.RATE_LIMITED:
                self._push_back(answer)
            case Kind.MAINTENANCE:
                self._reached = True
                self._trouble("it is under maintenance")
                if self.probe_at == inf:
                    self.say("the API is under maintenance: waiting, with a look every minute")
                self.probe_at = self.clock.monotonic() + PROBE_EVERY
            case Kind.ACCOUNT_REFUSED:
                self.end(Stop(Exit.REFUSED, refusal_words(verdict.code)))
            case Kind.TROUBLE | Kind.UNKNOWN:
                self._reached = True
                self._trouble(f"it answers with errors ({verdict.code})")
            case _:
                self.served_at = max(self.served_at, answer.sent_at)
                self._recover()

    def full(self, answer: Answer) -> None:
        """A 429 that speaks of the tasks in flight: nobody but submits need wait, unless it says for how long."""
        self.pacer.heard(answer.sent_at, answer.answered_at)
        self._count_429()
        if pause := verdicts.clamp_retry_after(answer.retry_after, 0.0, longest=self._longest_pause()):
            self.pacer.pause(pause)

    def _count_429(self) -> None:
        self.requests["refused_429"] += 1
        self.note_traffic("refused_429")

    def _push_back(self, answer: Answer) -> None:
        self._count_429()
        self._reached = True
        self._pushes += 1
        self._trouble("it refuses every request (429)")
        rate = self.settings.rate_limit
        space = self.settings.rate_period / rate if rate else 1.0
        default = verdicts.backoff(min(self._pushes, 4), 0.5, first=space)
        pause = verdicts.clamp_retry_after(answer.retry_after, default, longest=self._longest_pause())
        is_slower = self.pacer.pushed_back(answer.sent_at, pause)
        is_long = (answer.retry_after or 0.0) > verdicts.LONGEST_PAUSE
        if is_long and self.probe_at == inf:
            self.say("429: the API asks for a long pause: waiting, with a look every minute, for --patience at most")
        elif is_slower:
            self.say(f"429: the API allows less than configured; waiting {pause:.3g} s, then slower")
        if is_long or self.probe_at < inf:
            self.probe_at = self.clock.monotonic() + (PROBE_EVERY if is_long else pause)

    def _longest_pause(self) -> float:
        """No answer silences the key for longer: for a long pause there is one look a minute."""
        return min(verdicts.LONGEST_PAUSE, self.settings.patience)

    def unreachable(self, error: NeverSent | MaybeSent) -> None:
        """No answer came. Without a connection nobody tries again before a pause, longer each time."""
        self._troubles += 1
        self._trouble(str(error))
        is_late = self.clock.monotonic() - self._trouble_since >= SOON
        if is_late and not self._reached and self._troubles > self.settings.retries:
            self.end(Stop(Exit.UNAVAILABLE, f"the API cannot be reached: {error}"))
        if isinstance(error, NeverSent):
            self.pacer.pause(min(self.backoff(min(self._troubles, 6)), self._longest_pause()))

    @property
    def trouble(self) -> str:
        """What keeps everybody waiting; "" while the API answers somebody."""
        words = self._trouble_words if self._is_outage or self.probe_at < inf else self.media_trouble
        return f"waiting: {words}" if words else ""

    def _trouble(self, words: str) -> None:
        """Nothing good was heard. When that goes on it is said, and when it goes on for too long, the run ends."""
        now = self.clock.monotonic()
        self._trouble_since, self._trouble_words = min(self._trouble_since, now), words
        self.patience.trouble(now)
        if self.is_patience_over(now):
            return
        if now - self._trouble_since >= SOON and not self._is_outage and self.probe_at == inf:
            self._is_outage = True
            self.say(f"the API answers nobody ({words}): waiting, for --patience at most")

    def is_patience_over(self, now: float) -> bool:
        """Whether nothing good was heard for all of --patience. Then the run ends."""
        if now < self.patience.ends_at():
            return False
        words = self._trouble_words or "it does not answer"
        self.end(Stop(Exit.UNAVAILABLE, f"the API stayed unavailable: {words}"))
        return True

    def _recover(self) -> None:
        """Something good was heard."""
        if self._is_outage or self.probe_at < inf:
            self.say("the API answers again")
        self._reached, self._is_outage = True, False
        self._troubles = self._pushes = 0
        self._trouble_since = self.probe_at = inf
        self.good_at, self._trouble_words = self.clock.monotonic(), ""
        self.patience.good(self.good_at)


async def _is_well() -> bool:
    return True


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """A request and its record are one step: when cancelled, first finish the record."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error from None  # that the record could not be made weighs more
        raise
