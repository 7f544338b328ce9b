"""The rate limit rule: when the next request may leave. Pure: the caller brings the time, keeps the `Pace`, and waits.

All processes that use a key share the recent departures, the slowest of their configured rates, and a `Pace`, the
limit learned from 429s. The rule is a strict sliding window (at most `limit` requests leave in any `period` seconds)
with even spaces between requests; a leaky bucket would let through almost twice the limit at first.
A 429 means that the true limit is lower. The number of requests in the window at that moment is a measurement of it,
so the pace drops to this `proven` limit at once. If many 429s push the pace below it, the pace returns to it within a
few periods. Beyond it, the pace rises by one step per `hold`.
"""

from collections.abc import Iterator
from math import ceil, inf

import msgspec

MARGIN = 0.01
"""Fraction of the period that is left free, because the travel time of a request is only estimated."""
LEAST_MARGIN = 0.01
"""Least margin in seconds."""
WAY = 0.05
"""Fraction of the period: the longest assumed time between a request's departure and its arrival at the API."""
LEAST_WAY = 0.25
"""Least value of that time in seconds, because a busy machine delays requests whatever the period is."""
FIRST_HOLD = 60.0
LONGEST_HOLD = 3600.0


class Rate(msgspec.Struct, frozen=True):
    """At most `limit` requests in any `period` seconds."""

    limit: int
    period: float

    @property
    def speed(self) -> float:
        """Requests a second."""
        return self.limit / self.period

    def __str__(self) -> str:
        return f"{self.limit}/{self.period:g}s"


class Departures(msgspec.Struct):
    """Recent requests: the place of the last one, and the times at which they left or arrived, oldest first.

    Spaces are kept between places. A place may be a little earlier than its request, so that delays do not add up.
    `slowest` is the slowest rate among the runs in progress, if known.
    """

    place: float = -inf
    at: list[float] = []
    slowest: Rate | None = None


class Pace(msgspec.Struct, frozen=True):
    """The limit of one key, learned from 429s. Times are monotonic seconds."""

    limit: int | None = None
    """The learned limit in `period` seconds; None if only the configured rates apply."""
    period: float = 0.0
    top: int = 0
    """The limit in force at the first 429. When the pace is back there, the learned limit is dropped."""
    proven: int | None = None
    """The measured limit at the first 429."""
    sound: int = 1
    """The limit before the last raise."""
    paused_until: float = -inf
    """The end of a Retry-After or a maintenance."""
    pushed_at: float = -inf
    """When a 429 last lowered the pace."""
    raised_at: float = -inf
    raise_at: float = inf
    """When the limit may be raised again."""
    hold: float = FIRST_HOLD

    @property
    def taught(self) -> Rate | None:
        return None if self.limit is None else Rate(self.limit, self.period)


def wait(pace: Pace, rate: Rate, sent: Departures, now: float) -> float:
    """Return 0.0 if a request may leave now at `rate`, otherwise the seconds to wait before the next try.

    `sent` must cover at least the last `reach` seconds.
    """
    if now < pace.paused_until:
        return pace.paused_until - now
    return max(0.0, *(_free_at(each, sent) - now for each in _in_force(pace, rate, sent)))


def reach(pace: Pace, *rates: Rate) -> float:
    """Return for how many seconds a departure counts for one of the rates, with some extra for late departures."""
    return 2 * max(pace.period if pace.taught else 0.0, *(rate.period for rate in rates))


def _in_force(pace: Pace, rate: Rate, sent: Departures) -> Iterator[Rate]:
    """Yield the rates that a request sent at `rate` must keep. All departures count for each of them."""
    yield rate
    if sent.slowest and sent.slowest.speed < rate.speed:
        yield sent.slowest
    if pace.taught:
        yield pace.taught


def _free_at(rate: Rate, left: Departures) -> float:
    free_at = left.place + _space(rate)
    return max(free_at, left.at[-rate.limit] + _period(rate)) if len(left.at) >= rate.limit else free_at


def _period(rate: Rate) -> float:
    return rate.period + max(rate.period * MARGIN, LEAST_MARGIN)


def _space(rate: Rate) -> float:
    return _period(rate) / rate.limit


def place(pace: Pace, rate: Rate, sent: Departures, now: float) -> float:
    """Return the place of a request that may leave now. The next space starts there.

    The place may lie in the past: otherwise, the small delays of a process would add up.
    """
    return max(_place(each, sent, now) for each in _in_force(pace, rate, sent))


def _place(rate: Rate, left: Departures, now: float) -> float:
    if now - left.place >= 2 * _space(rate):
        return now  # the window was idle
    return min(now, left.place + _space(rate))


def longest_way(rate: Rate) -> float:
    """Return the longest assumed travel time of a request. Any longer time counts as work at the API."""
    return max(rate.period * WAY, LEAST_WAY)


def allowed(pace: Pace, rate: Rate) -> int:
    """Return how many requests may leave in the rate's period now: at least one."""
    if pace.limit is None:
        return rate.limit
    return max(1, min(rate.limit, int(pace.limit * (rate.period / pace.period))))


def _limit_in(period: float, rate: Rate) -> int:
    """Convert the rate to a limit for this period, rounded up."""
    return ceil(rate.limit * (period / rate.period))


def pushed_back(pace: Pace, rate: Rate, sent: Departures, *, sent_at: float, now: float, pause: float) -> Pace:
    """Return the pace after a 429 to the request that left at `sent_at`. Nothing is sent for `pause` seconds.

    A request that left before the pace was last lowered brings no new information: a burst of 429s counts once.
    The measurement uses the period of the learned limit if there is one, else the period of the rate.
    """
    until = max(pace.paused_until, now + pause)
    if sent_at <= pace.pushed_at:
        return msgspec.structs.replace(pace, paused_until=until)
    pushed = msgspec.structs.replace(pace, paused_until=until, pushed_at=now, raised_at=-inf)
    if 0.0 <= sent_at - pace.raised_at <= 2 * pace.period:
        # The last raise was too much: return to the limit before it, and wait longer until the next try.
        hold = min(pace.hold * 2, LONGEST_HOLD)
        return msgspec.structs.replace(pushed, limit=pace.sound, proven=pace.sound, raise_at=until + hold, hold=hold)
    period = rate.period if pace.limit is None else pace.period
    measured = max(1, sum(1 for at in sent.at if sent_at - period < at < sent_at))
    slowest = min(rate, sent.slowest or rate, key=lambda each: each.speed)
    tried = _limit_in(period, slowest)
    tried = tried if pace.limit is None else min(tried, pace.limit)
    limit = max(1, tried // 2, min(measured, tried - 1))
    proven = measured if pace.proven is None or period != pace.period else pace.proven
    return msgspec.structs.replace(
        pushed,
        limit=limit,
        period=period,
        top=tried if pace.limit is None else pace.top,
        proven=proven,
        sound=limit,
        raise_at=until + (2 * period if limit < proven else pace.hold),
    )


def recovered(pace: Pace, rate: Rate, now: float) -> Pace:
    """Return the pace after a time without 429s: quickly back to the proven limit, and in small steps beyond it.

    A process raises the limit only up to its own rate, and drops it only when that reaches `top`.
    """
    if pace.limit is None or now < pace.raise_at:
        return pace
    own = _limit_in(pace.period, rate)
    if pace.limit >= own:
        return pace
    proven = min(pace.proven or 0, own)
    limit = min(pace.limit * 2, proven) if pace.limit < proven else pace.limit + max(1, own // 20)
    limit = min(limit, own)
    is_over = limit == own >= pace.top
    raise_at = now + (2 * pace.period if limit < proven else pace.hold)
    return msgspec.structs.replace(
        pace, limit=None if is_over else limit, sound=pace.limit, raised_at=now, raise_at=raise_at
    )


def pause(pace: Pace, until: float) -> Pace:
    """Return the pace with a pause until `until` (maintenance)."""
    return msgspec.structs.replace(pace, paused_until=max(pace.paused_until, until))
