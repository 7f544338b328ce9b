"""Media hosts in trouble: how long to retry a download, and when to pause submits. Pure: the caller passes the time.

A single result that fails may have trouble of its own. When several fail and none succeeds, the host is in trouble and
is retried like the API: for --patience, one download at a time. Results that are still missing then are left to the
next run and do not fail.
"""

from enum import Enum
from math import inf

import msgspec

from batchswap.verdicts import backoff

PROMISED = 300.0
"""Seconds for which a missing or incomplete result is retried at a host that answers: results can be late."""
LASTING = 60.0
"""Seconds after which missing results count as trouble of their host, not as a delay."""
SOON = 10.0
"""Seconds after which the trouble of a single result is reported."""
LOOK = 30.0
"""Seconds that one download from a host in trouble may take before the next one starts."""
BEARABLE = 20
"""Maximum results that wait for one host while other hosts deliver and submits continue."""
LONGEST_PAUSE = 600.0
"""Longest Retry-After of a host in seconds that is honoured."""


def silence(patience: float) -> float:
    """Return the seconds without progress after which a download is aborted."""
    return min(60.0, max(10.0, patience))


class Trouble(Enum):
    """Cause of a failed download."""

    FINAL = "a retry cannot help"
    LOCAL = "trouble on this machine"
    HOST = "trouble of the host: no connection, no answer, 5xx, 429"
    RESULT = "the host answers, without the result"


_LOCAL = ("busy", "part-gone", "source-gone", "disk", "disk-full")
_HOST = ("unavailable", "unreachable", "timeout", "connection")


def trouble_of(reason: str, *, final: bool) -> Trouble:
    """Classify a DownloadError by its `reason` and `final`."""
    if final:
        return Trouble.FINAL
    if reason in _LOCAL:
        return Trouble.LOCAL
    return Trouble.HOST if reason in _HOST else Trouble.RESULT


class Then(Enum):
    """Next step for a result."""

    AGAIN = "download again, after the seconds"
    FRESH = "request a fresh URL from the API"
    FAIL = "fail the task"
    LEAVE = "leave it to the next run"


class Next(msgspec.Struct, frozen=True):
    """A decision, with seconds to wait for AGAIN."""

    then: Then
    seconds: float = 0.0


class DownloadHistory(msgspec.Struct):
    """Failures of one result. Times are monotonic seconds."""

    tries: int = 0
    since: float = inf
    failed_at: float = inf
    counted: int = 0
    """Failures while the host delivered other results."""


class Host:
    """State of one media host, from the downloads of all results."""

    def __init__(self) -> None:
        self.good_at = -inf
        """When it last answered."""
        self.has_given = False
        self._failed: dict[int, float] = {}
        """Results that failed, with the time of the first failure. Cleared when the host delivers one."""
        self._waiting: set[int] = set()
        self._down_since = inf
        self._tries = 0
        self._free_at = self._looks_until = -inf
        self._is_said = False

    def away(self, seconds: float) -> None:
        """Do not count time in which nothing could be downloaded."""
        self._down_since += seconds

    @property
    def is_shared(self) -> bool:
        """Return whether the host failed for more than one result."""
        return self._down_since < inf and len(self._failed) > 1

    def claim(self, result: int, now: float) -> float:
        """Return 0.0 if this result may be downloaded now, else the seconds until the next claim."""
        if not self.is_shared:
            return 0.0
        self._waiting.add(result)
        free_at = max(self._free_at, self._looks_until)
        if now < free_at:
            return free_at - now
        self._looks_until = now + LOOK
        return 0.0

    def gave(self, now: float) -> bool:
        """Record a complete result. Return whether it ends trouble that was reported."""
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
        """Record a failure of the host and return the seconds to wait. `pause` is its Retry-After.

        `silent` is the time in seconds without data before the download was aborted.
        """
        self._failed.setdefault(result, now)
        self._down_since = min(self._down_since, max(now - silent, self.good_at))
        self._tries += now >= self._free_at  # simultaneous failures count once
        wanted = max(backoff(self._tries, dice), min(pause or 0.0, LONGEST_PAUSE))
        wanted = min(wanted, max(patience - self.down_for(now), 1.0))  # one last try when patience ends
        self._free_at, self._looks_until = max(self._free_at, now + wanted), -inf
        return wanted

    def forget(self, result: int) -> None:
        """Forget a result that is not downloaded any more."""
        self._failed.pop(result, None)
        self._waiting.discard(result)

    def down_for(self, now: float) -> float:
        """Return the seconds since the last useful answer; 0.0 if the host is not down."""
        return max(0.0, now - self._down_since)

    def holds_submits(self, now: float, others_gave_at: float) -> bool:
        """Return whether to pause submits. `others_gave_at` is the time of the last result from another host."""
        if len(self._failed) < 2:
            return False
        since = min(self._failed.values())
        if others_gave_at > since and len(self._failed.keys() | self._waiting) < BEARABLE:
            return False
        return self._down_since < inf or now - since >= LASTING

    def is_news(self, now: float) -> bool:
        """Return True once for lasting or shared trouble."""
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

    `wait` is the time in seconds until the next try. `may_refresh`: the URL may have expired, and a fresh one was not
    requested yet.
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
    alone = host.has_given and not host.is_shared  # the trouble may be that of this result alone
    is_over = host.down_for(now) >= (promised if alone else patience)
    return Next(Then.LEAVE) if is_over else Next(Then.AGAIN, wait)


def note(story: DownloadHistory, host: Host, now: float) -> None:
    """Count one more failure of a result, before the host records it."""
    story.counted += host.good_at >= story.failed_at
    story.tries += 1
    story.since = min(story.since, now)
    story.failed_at = now
