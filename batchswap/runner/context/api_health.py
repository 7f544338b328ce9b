"""The health of the API, learned from all answers and failures. Pure: the caller passes the time."""

from math import inf

import msgspec

from batchswap import verdicts
from batchswap.errors import Exit, MaybeSent, NeverSent
from batchswap.events import LogEvent
from batchswap.runner.context.patience import Patience
from batchswap.runner.stop_reasons import Stop, refusal_words
from batchswap.verdicts import Kind, Verdict

PROBE_EVERY = 60.0
"""Seconds between two probes during a maintenance or a long pause."""

SOON = 10.0
"""Seconds that trouble must last before it is reported or ends the run. Calls that fail together count as one."""

News = tuple[LogEvent, str]


class Advice(msgspec.Struct, frozen=True):
    """Consequences of an answer for all requests."""

    pause: float = 0.0
    """Seconds in which nothing is sent."""
    is_429: bool = False
    """Whether the pace may be too fast."""
    if_slower: News | None = None
    """Message if this lowers the pace."""
    news: tuple[News, ...] = ()
    """Messages in any case."""
    stop: Stop | None = None
    """The reason to end the run."""


NOTHING = Advice()


class ApiHealth:
    """Times are monotonic seconds. `space` is the time between two requests at the configured rate."""

    def __init__(self, patience: float, retries: int, space: float = 1.0) -> None:
        self.patience = Patience(patience)
        self.probe_at = inf
        """When to probe whether a maintenance or long pause is over; inf if there is none."""
        self.good_at = -inf
        """When the last good answer came."""
        self.served_at = -inf
        """When the latest request with a good answer left."""
        self._allowed, self._retries, self._space = patience, retries, space
        self._failures = self._pushes = 0
        self._trouble_since, self._words = inf, ""
        self._has_answered = self._is_outage = False
        self._balance_asked_at = -inf

    def answered(self, verdict: Verdict, sent_at: float, now: float, retry_after: float | None = None) -> Advice:
        """Return the consequences of an answer: continue, slow down, wait, or stop."""
        match verdict.kind:
            case Kind.RATE_LIMITED:
                return self._pushed_back(now, retry_after)
            case Kind.MAINTENANCE:
                self._has_answered = True
                advice = self._trouble(now, "it is under maintenance")
                if not self.is_paused:
                    words = "the API is under maintenance: waiting, with a check every minute"
                    advice = _with_news(advice, LogEvent.API_MAINTENANCE, words)
                self.probe_at = now + PROBE_EVERY
                return advice
            case Kind.ACCOUNT_REFUSED:
                return Advice(stop=Stop(Exit.REFUSED, refusal_words(verdict.code)))
            case Kind.TROUBLE | Kind.UNKNOWN:
                self._has_answered = True
                return self._trouble(now, f"it answers with errors ({verdict.code})")
            case _:
                self.served_at = max(self.served_at, sent_at)
                return self._recovered(now)

    def failed(self, error: NeverSent | MaybeSent, now: float, dice: float) -> Advice:
        """Return the consequences of a request without an answer. Failed connections pause all requests."""
        self._failures += 1
        advice = self._trouble(now, str(error))
        stop = advice.stop
        is_late = now - self._trouble_since >= SOON
        if stop is None and is_late and not self._has_answered and self._failures > self._retries:
            stop = Stop(Exit.UNAVAILABLE, f"the API cannot be reached: {error}")
        pause = 0.0
        if isinstance(error, NeverSent):
            pause = min(verdicts.backoff(min(self._failures, 6), dice), self.longest_pause)
        return msgspec.structs.replace(advice, pause=pause, stop=stop)

    def _pushed_back(self, now: float, retry_after: float | None) -> Advice:
        self._has_answered = True
        self._pushes += 1
        advice = self._trouble(now, "it refuses every request (429)")
        default = verdicts.backoff(min(self._pushes, 4), 0.5, first=self._space)
        pause = verdicts.clamp_retry_after(retry_after, default, longest=self.longest_pause)
        is_long = (retry_after or 0.0) > verdicts.LONGEST_PAUSE
        if_slower = None
        if is_long and not self.is_paused:
            words = "429: the API requests a long pause: waiting for --patience at most, with a check every minute"
            advice = _with_news(advice, LogEvent.API_PAUSE, words)
        else:
            words = f"429: the API allows fewer requests than configured; waiting {pause:.3g} s, then slower"
            if_slower = LogEvent.RATE_LOWERED, words
        if is_long or self.is_paused:
            self.probe_at = now + (PROBE_EVERY if is_long else pause)
        return msgspec.structs.replace(advice, pause=pause, is_429=True, if_slower=if_slower)

    def _trouble(self, now: float, words: str) -> Advice:
        """Note trouble. Report it if it lasts, and stop the run if it lasts for all of --patience."""
        self._trouble_since, self._words = min(self._trouble_since, now), words
        self.patience.trouble(now)
        if (stop := self.spent(now)) is not None:
            return Advice(stop=stop)
        if now - self._trouble_since < SOON or self._is_outage or self.is_paused:
            return NOTHING
        self._is_outage = True
        return _with_news(
            NOTHING, LogEvent.API_UNAVAILABLE, f"the API is unavailable ({words}): waiting, for --patience at most"
        )

    def _recovered(self, now: float) -> Advice:
        has_news = self._is_outage or self.is_paused
        self._has_answered, self._is_outage = True, False
        self._failures = self._pushes = 0
        self._trouble_since = self.probe_at = inf
        self.good_at, self._words = now, ""
        self.patience.good(now)
        return _with_news(NOTHING, LogEvent.API_AVAILABLE, "the API answers again") if has_news else NOTHING

    def spent(self, now: float) -> Stop | None:
        """Return the reason to end the run if there was no good answer for all of --patience."""
        if now < self.patience.ends_at():
            return None
        return Stop(Exit.UNAVAILABLE, f"the API stayed unavailable: {self._words or 'it does not answer'}")

    @property
    def is_paused(self) -> bool:
        """Whether only probes are sent."""
        return self.probe_at < inf

    @property
    def longest_pause(self) -> float:
        """Seconds for which one answer may pause the key. A longer pause is probed once a minute."""
        return min(verdicts.LONGEST_PAUSE, self._allowed)

    @property
    def trouble(self) -> str:
        """The reason why all requests wait; "" while the API answers."""
        return self._words if self._is_outage or self.is_paused else ""

    def probe_due(self) -> float:
        """Return the time of the next probe, in a pause or because calls hang."""
        return min(self.probe_at, self.patience.ends_at()) if self.is_paused else self.patience.probe_at()

    def probed(self, now: float) -> None:
        """Note that a probe leaves."""
        if self.is_paused:
            self.probe_at = now + PROBE_EVERY
        self.patience.probed(now)

    def may_ask_balance(self, since: float, now: float) -> bool:
        """Return whether to test the API with a balance call: neither a good answer nor such a call since `since`."""
        if max(self.good_at, self._balance_asked_at) >= since:
            return False
        self._balance_asked_at = now
        return True


def _with_news(advice: Advice, event: LogEvent, words: str) -> Advice:
    return msgspec.structs.replace(advice, news=(*advice.news, (event, words)))
