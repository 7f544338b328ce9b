"""When the next request may leave. Pure: the caller brings the time, keeps the `Pace` and does the waiting.

A `Pace` is what all processes that use one key share. The rule is a strict sliding window (in no `period` seconds
do more than `limit` requests leave) with even spaces inside it: a bucket would let nearly twice the limit out at first.
A 429 says that the true limit is lower. The requests that the window held at that moment are a measurement of it,
so the pace drops there at once instead of by guesses. What was measured is `proven`: after a storm of 429s that drove
the pace below it, the pace comes back to it in a few periods; beyond it, one request a `hold` at a time.
"""

from collections.abc import Callable, Sequence
from math import inf

import msgspec

MARGIN = 0.01
"""Part of the period left free, for what the times of answers do not tell of the way of a request, …"""
LEAST_MARGIN = 0.01
"""… and at least so many seconds."""
WAY = 0.05
"""Part of the period by which a request is believed to have come to the API later than it left, at most, …"""
LEAST_WAY = 0.25
"""… or so many seconds: a busy machine holds one back, however short the period."""
FIRST_HOLD = 60.0
LONGEST_HOLD = 3600.0


class Rate(msgspec.Struct, frozen=True):
    """At most `limit` requests in any `period` seconds."""

    limit: int
    period: float

    def __str__(self) -> str:
        return f"{self.limit}/{self.period:g}s"


class Pace(msgspec.Struct, frozen=True):
    """How fast one key goes now. Times are monotonic seconds.

    `limit` is what is believed of the API, at most the configured one; `proven` is what it once allowed in a period,
    measured when a 429 came; `sound` is the limit before the last raise; `paused_until` is a Retry-After or a
    maintenance; `pushed_at` is when the last 429 was taken to heart; after `raise_at` one more request may be tried.
    """

    limit: int
    proven: int | None = None
    sound: int = 1
    paused_until: float = -inf
    pushed_at: float = -inf
    raised_at: float = -inf
    raise_at: float = inf
    hold: float = FIRST_HOLD


Change = Callable[[Pace, float], Pace]
"""A pace and the present time -> the pace from now on."""


def wait(pace: Pace, rate: Rate, sent: Sequence[float], now: float, *, claimed: float | None = None) -> float:
    """0.0: a request may leave now. Otherwise seconds to wait before asking again.

    `sent` holds the times of the last `pace.limit` requests at least, oldest first. `claimed` is when the last place
    was given, if its request could leave later only: spaces are kept between places, so that the pace does not suffer.
    """
    if now < pace.paused_until:
        return pace.paused_until - now
    if not sent:
        return 0.0
    period = _period(rate)
    free_at = (sent[-1] if claimed is None else claimed) + period / pace.limit
    if len(sent) >= pace.limit:
        free_at = max(free_at, sent[-pace.limit] + period)
    return max(0.0, free_at - now)


def _period(rate: Rate) -> float:
    return rate.period + max(rate.period * MARGIN, LEAST_MARGIN)


def place(pace: Pace, rate: Rate, claimed: float, now: float) -> float:
    """The place of a request that may leave now, after the one at `claimed`: what the next space is counted from.

    Whoever wakes up a little late for each place would else be slower than the limit by all these moments.
    """
    period = _period(rate)
    if now - claimed >= 2 * period / pace.limit:
        return now  # nobody wanted it
    return min(now, claimed + period / pace.limit)


def longest_way(rate: Rate) -> float:
    """Seconds by which requests may travel at different speeds. What takes longer is taken for work at the API."""
    return max(rate.period * WAY, LEAST_WAY)


def pushed_back(pace: Pace, rate: Rate, sent: Sequence[float], *, sent_at: float, now: float, pause: float) -> Pace:
    """The pace after a 429 to the request that left at `sent_at`. `pause` seconds nobody sends anything.

    Requests that left before the last push-back had been heard tell nothing new: a burst of 429s is one message.
    """
    until = max(pace.paused_until, now + pause)
    if sent_at <= pace.pushed_at:
        return msgspec.structs.replace(pace, paused_until=until)
    if 0.0 <= sent_at - pace.raised_at <= 2 * rate.period:
        # A faster pace was tried and was too fast: the one before it was sound. Try again, but not as soon.
        hold = min(pace.hold * 2, LONGEST_HOLD)
        return Pace(pace.sound, pace.sound, pace.sound, until, now, -inf, until + hold, hold)
    held = max(1, sum(1 for at in sent if sent_at - rate.period < at < sent_at))
    limit = max(1, pace.limit // 2, min(held, pace.limit - 1))
    proven = held if pace.proven is None else pace.proven
    raise_at = until + (2 * rate.period if limit < proven else pace.hold)
    return Pace(limit, proven, limit, until, now, -inf, raise_at, pace.hold)


def recovered(pace: Pace, rate: Rate, now: float) -> Pace:
    """The pace after a quiet time: fast back to what is proven, beyond it one request more at a time."""
    if now < pace.raise_at or pace.limit >= rate.limit:
        return pace
    proven = min(pace.proven or 0, rate.limit)
    limit = min(pace.limit * 2, proven) if pace.limit < proven else pace.limit + max(1, rate.limit // 20)
    limit = min(limit, rate.limit)
    raise_at = inf if limit == rate.limit else now + (2 * rate.period if limit < proven else pace.hold)
    return msgspec.structs.replace(pace, limit=limit, sound=pace.limit, raised_at=now, raise_at=raise_at)


def pause(pace: Pace, until: float) -> Pace:
    """Nobody sends before `until` (maintenance)."""
    return msgspec.structs.replace(pace, paused_until=max(pace.paused_until, until))
