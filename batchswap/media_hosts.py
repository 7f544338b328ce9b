"""Media hosts in trouble: how long a result is asked for, and when nothing more is submitted. Pure: told the time.

A result that fails alone may be at fault itself. Where several fail and none comes, the host is, and is waited for as
the API is: for --patience, with one look at a time. What is then still missing is left to the next run, never failed.
"""

from enum import Enum
from math import inf

import msgspec

from batchswap.verdicts import backoff

PROMISED = 300.0
"""Seconds that a host which answers is asked for a result that it does not give, or not whole: hosts are late."""
LASTING = 60.0
"""Seconds after which missing results are their host's trouble and not its delay."""
SOON = 10.0
"""Seconds after which trouble that one result has is said."""
LOOK = 30.0
"""Seconds that one look at a host in trouble may take before the next one leaves."""
BEARABLE = 20
"""Results that may wait for one host while other hosts give theirs and more is submitted."""
LONGEST_PAUSE = 600.0
"""Seconds of a host's Retry-After that are honoured at most."""


def silence(patience: float) -> float:
    """Return the seconds without progress after which a download is broken off."""
    return min(60.0, max(10.0, patience))


class Trouble(Enum):
    """What a failed download says."""

    FINAL = "asking again is useless"
    LOCAL = "this machine's trouble"
    HOST = "the host's trouble: no connection, no answer, 5xx, 429"
    RESULT = "the host answers, but not with the result"


_LOCAL = ("busy", "part-gone", "source-gone", "disk", "disk-full")
_HOST = ("unavailable", "unreachable", "timeout", "connection")


def trouble_of(reason: str, *, final: bool) -> Trouble:
    """`reason` and `final` are those of a DownloadError."""
    if final:
        return Trouble.FINAL
    if reason in _LOCAL:
        return Trouble.LOCAL
    return Trouble.HOST if reason in _HOST else Trouble.RESULT


class Then(Enum):
    """What to do next with a result."""

    AGAIN = "ask again, after the seconds"
    FRESH = "ask the API for a fresh URL"
    FAIL = "give it up as failed"
    LEAVE = "leave it to the next run"


class Next(msgspec.Struct, frozen=True):
    """A decision, with seconds to wait for AGAIN."""

    then: Then
    seconds: float = 0.0


class DownloadHistory(msgspec.Struct):
    """What one result has gone through. Times are monotonic seconds."""

    tries: int = 0
    since: float = inf
    failed_at: float = inf
    counted: int = 0
    """Failures that were the result's own, because its host gave others meanwhile."""


class Host:
    """One media host, as all results together have found it."""

    def __init__(self) -> None:
        self.good_at = -inf
        """When it last answered."""
        self.has_given = False
        self._failed: dict[int, float] = {}
        """Results that it did not give, since when; all are forgotten when it gives one."""
        self._waiting: set[int] = set()
        self._down_since = inf
        self._tries = 0
        self._free_at = self._looks_until = -inf
        self._is_said = False

    @property
    def is_shared(self) -> bool:
        """Whether more than one result found it down."""
        return self._down_since < inf and len(self._failed) > 1

    def claim(self, result: int, now: float) -> float:
        """Return 0.0 when this result may be asked for now, else seconds to wait before claiming again."""
        if not self.is_shared:
            return 0.0
        self._waiting.add(result)
        free_at = max(self._free_at, self._looks_until)
        if now < free_at:
            return free_at - now
        self._looks_until = now + LOOK
        return 0.0

    def gave(self, now: float) -> bool:
        """Record a whole result. True: the trouble that was said is over."""
        was_said, self._is_said = self._is_said, False
        self.has_given = True
        self._failed.clear()
        self._answered(now)
        return was_said

    def _answered(self, now: float) -> None:
        self.good_at, self._down_since, self._tries = now, inf, 0
        self._free_at = self._looks_until = -inf

    def missed(self, result: int, now: float) -> None:
        """Record that the host answered without the result."""
        self._answered(now)
        self._failed.setdefault(result, now)

    def failed(
        self, result: int, now: float, pause: float | None, dice: float, patience: float, silent: float = 0.0
    ) -> float:
        """Record that the host gave no useful answer. Return seconds to wait; `pause` is its Retry-After.

        `silent`: seconds for which it had sent nothing before it was given up.
        """
        self._failed.setdefault(result, now)
        self._down_since = min(self._down_since, max(now - silent, self.good_at))
        self._tries += now >= self._free_at  # failures of one moment are one message
        wanted = max(backoff(self._tries, dice), min(pause or 0.0, LONGEST_PAUSE))
        wanted = min(wanted, max(patience - self.down_for(now), 1.0))  # one last look when patience ends
        self._free_at, self._looks_until = max(self._free_at, now + wanted), -inf
        return wanted

    def forget(self, result: int) -> None:
        """Forget a result that is not asked for any longer."""
        self._failed.pop(result, None)
        self._waiting.discard(result)

    def down_for(self, now: float) -> float:
        """Seconds for which it gave no useful answer; 0.0 when it is not down."""
        return max(0.0, now - self._down_since)

    def holds_submits(self, now: float, others_gave_at: float) -> bool:
        """Whether a result more could not be fetched either. `others_gave_at`: when another host last gave one."""
        if len(self._failed) < 2:
            return False
        since = min(self._failed.values())
        if others_gave_at > since and len(self._failed.keys() | self._waiting) < BEARABLE:
            return False
        return self._down_since < inf or now - since >= LASTING

    def is_news(self, now: float) -> bool:
        """Whether it is in lasting or shared trouble, and that was not asked for yet."""
        is_lasting = self.down_for(now) >= SOON or (
            len(self._failed) > 1 and now - min(self._failed.values()) >= LASTING
        )
        is_news = (is_lasting or self.is_shared) and not self._is_said
        self._is_said = self._is_said or is_news
        return is_news


def decide(
    trouble: Trouble,
    story: DownloadHistory,
    host: Host,
    now: float,
    wait: float,
    *,
    may_refresh: bool,
    retries: int,
    patience: float,
) -> Next:
    """Decide what follows the failure that `story` and `host` have recorded.

    `wait`: seconds until the next try. `may_refresh`: the URL may have expired, and no fresh one was asked for yet.
    """
    lasts, promised = now - story.since, min(PROMISED, patience) if retries else 0.0
    if trouble is Trouble.FINAL:
        return Next(Then.FAIL)
    if may_refresh:
        return Next(Then.FRESH)
    if trouble is Trouble.LOCAL:
        return Next(Then.FAIL) if story.tries > retries else Next(Then.AGAIN, wait)
    if trouble is Trouble.RESULT:
        is_over = story.tries > retries and lasts >= promised
        return Next(Then.FAIL) if is_over else Next(Then.AGAIN, wait)
    if story.counted > retries and lasts >= promised:
        return Next(Then.FAIL)
    alone = host.has_given and not host.is_shared  # it may be this result's own trouble
    is_over = host.down_for(now) >= (promised if alone else patience)
    return Next(Then.LEAVE) if is_over else Next(Then.AGAIN, wait)


def note(story: DownloadHistory, host: Host, now: float) -> None:
    """Count one more failure of a result, before the host records it."""
    story.counted += host.good_at >= story.failed_at
    story.tries += 1
    story.since = min(story.since, now)
    story.failed_at = now
