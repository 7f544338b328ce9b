"""When the next request may leave. Pure: the caller brings the time, keeps the `Pace` and does the waiting.

All processes that use one key share what has left, the slowest rate that one of them was given, and a `Pace`: what 429s
have taught. The rule is a strict sliding window (in no `period` seconds do more than `limit` requests leave) with even
spaces inside it: a bucket would let nearly twice the limit out at first.
A 429 says that the true limit is lower. The requests that the window held at that moment are a measurement of it,
so the pace drops there at once instead of by guesses. What was measured is `proven`: after a storm of 429s that drove
the pace below it, the pace comes back to it in a few periods; beyond it, one request a `hold` at a time.
"""

from collections.abc import Iterator
from math import ceil, inf

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

    @property
    def speed(self) -> float:
        """Requests a second."""
        return self.limit / self.period

    def __str__(self) -> str:
        return f"{self.limit}/{self.period:g}s"


class Departures(msgspec.Struct):
    """Requests that have left: the last place that was given to one, and when each left, or came, oldest first.

    Spaces are kept between places, which may be a little before their requests, so that the pace does not suffer.
    `slowest` is the slowest rate that a run in progress was given, if that is known.
    """

    place: float = -inf
    at: list[float] = []
    slowest: Rate | None = None


class Pace(msgspec.Struct, frozen=True):
    """What 429s have taught about one key. Times are monotonic seconds.

    `limit` is what is believed of the API, in `period` seconds; None: nothing, so that only the given rates apply.
    `top` is what was tried when it was first taught: back there, it is over. `proven` is what the API once allowed,
    measured when a 429 came; `sound` is the limit before the last raise; `paused_until` is a Retry-After or a
    maintenance; `pushed_at` is when the last 429 was taken to heart; after `raise_at` one more request may be tried.
    """

    limit: int | None = None
    period: float = 0.0
    top: int = 0
    proven: int | None = None
    sound: int = 1
    paused_until: float = -inf
    pushed_at: float = -inf
    raised_at: float = -inf
    raise_at: float = inf
    hold: float = FIRST_HOLD

    @property
    def taught(self) -> Rate | None:
        return None if self.limit is None else Rate(self.limit, self.period)


def wait(pace: Pace, rate: Rate, sent: Departures, now: float) -> float:
    """Return 0.0 when a request may leave now at `rate`, otherwise seconds to wait before asking again.

    `sent` is what came to the API in the last `reach` seconds at least.
    """
    if now < pace.paused_until:
        return pace.paused_until - now
    return max(0.0, *(_free_at(each, sent) - now for each in _in_force(pace, rate, sent)))


def reach(pace: Pace, *rates: Rate) -> float:
    """Return how many seconds back a departure may still count for one of the rates, with some more for late ones."""
    return 2 * max(pace.period if pace.taught else 0.0, *(rate.period for rate in rates))


def _in_force(pace: Pace, rate: Rate, sent: Departures) -> Iterator[Rate]:
    """Yield every rate that a request sent at `rate` has to keep; whatever has left counts for each of them."""
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
    """Return the place of a request that may leave now: what the next space is counted from.

    A process that wakes up a little late for each place would else be slower than the limit by all these moments.
    """
    return max(_place(each, sent, now) for each in _in_force(pace, rate, sent))


def _place(rate: Rate, left: Departures, now: float) -> float:
    if now - left.place >= 2 * _space(rate):
        return now  # the place was free for long
    return min(now, left.place + _space(rate))


def longest_way(rate: Rate) -> float:
    """Seconds by which requests may travel at different speeds. What takes longer is taken for work at the API."""
    return max(rate.period * WAY, LEAST_WAY)


def allowed(pace: Pace, rate: Rate) -> int:
    """Requests in the rate's period that may leave at it now: at least one, sooner or later."""
    if pace.limit is None:
        return rate.limit
    return max(1, min(rate.limit, int(pace.limit * (rate.period / pace.period))))


def _limit_in(period: float, rate: Rate) -> int:
    """The least limit for this period that leaves the rate as it is."""
    return ceil(rate.limit * (period / rate.period))


def pushed_back(pace: Pace, rate: Rate, sent: Departures, *, sent_at: float, now: float, pause: float) -> Pace:
    """The pace after a 429 to the request that left at `sent_at`. `pause` seconds nobody sends anything.

    `sent` is what has left. Requests that left before the last push-back had been heard tell nothing new: a burst of
    429s is one message. It is measured in the period that something was taught for already, else in the rate's own.
    """
    until = max(pace.paused_until, now + pause)
    if sent_at <= pace.pushed_at:
        return msgspec.structs.replace(pace, paused_until=until)
    pushed = msgspec.structs.replace(pace, paused_until=until, pushed_at=now, raised_at=-inf)
    if 0.0 <= sent_at - pace.raised_at <= 2 * pace.period:
        # A faster pace was tried and was too fast: the one before it was sound. Try again, but not as soon.
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
    """The pace after a quiet time: fast back to what is proven, beyond it one request more at a time.

    Nobody raises it beyond what he needs himself, and only who gets back to what was tried may call it over.
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
    """Nobody sends before `until` (maintenance)."""
    return msgspec.structs.replace(pace, paused_until=max(pace.paused_until, until))
