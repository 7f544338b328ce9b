"""Faults that the local server simulates: a pure schedule, drawn from seeded random numbers.

`429:0.1` is a kind and its probability; `slow:0.5:20` adds a duration in seconds.
"""

import math
from enum import StrEnum
from random import Random

import msgspec

from batchswap.errors import UsageError


class Fault(StrEnum):
    """Kinds of faults. Those that the client sees as a code have that code as their name."""

    RATE_LIMITED = "429"
    MAINTENANCE = "455"
    BROKEN = "500"
    FAILED = "501"
    DISABLED = "505"
    LOST = "lost"  # the server accepts the submit, but its response never arrives
    SLOW = "slow"


class Moment(StrEnum):
    """The moment at which a fault is drawn."""

    REQUEST = "request"  # before any request is handled
    ANSWER = "answer"  # after a CreateTask was accepted
    WORK = "work"  # when a task starts


WHEN = {
    Fault.RATE_LIMITED: Moment.REQUEST,
    Fault.MAINTENANCE: Moment.REQUEST,
    Fault.BROKEN: Moment.REQUEST,
    Fault.DISABLED: Moment.REQUEST,
    Fault.LOST: Moment.ANSWER,
    Fault.FAILED: Moment.WORK,
    Fault.SLOW: Moment.WORK,
}

SPREAD = 0.35
"""Sigma of the lognormal durations of SLOW: most are between half the median and twice the median."""


class FaultRate(msgspec.Struct, frozen=True):
    """The probability of a fault, from 0 to 1. Only SLOW uses `seconds`, its median duration."""

    kind: Fault
    chance: float
    seconds: float = 10.0


def parse_fault(text: str) -> FaultRate:
    """Parse `KIND:CHANCE` or `slow:CHANCE:SECONDS`. Raises UsageError."""
    kind, _, rest = text.partition(":")
    chance, _, seconds = rest.partition(":")
    if kind not in list(Fault):
        raise UsageError(f"unknown fault {kind!r}: use one of {', '.join(Fault)}")
    try:
        rate = FaultRate(Fault(kind), float(chance), float(seconds or 10.0))
    except ValueError:
        raise UsageError(f"invalid fault {text!r}: write KIND:CHANCE or slow:CHANCE:SECONDS") from None
    if not 0 <= rate.chance <= 1 or not math.isfinite(rate.seconds) or rate.seconds < 0:
        raise UsageError(f"invalid fault {text!r}: CHANCE must be between 0 and 1, and SECONDS at least 0")
    return rate


class Schedule:
    """Seeded random numbers, separate for each moment: additional polls do not change which tasks fail."""

    def __init__(self, rates: tuple[FaultRate, ...], seed: int) -> None:
        self._rates = {moment: [r for r in rates if WHEN[r.kind] is moment] for moment in Moment}
        self._dice = {moment: Random(f"{seed} {moment}") for moment in Moment}

    def draw(self, moment: Moment) -> FaultRate | None:
        """Return a fault to simulate now, or None. If several are drawn, the first configured one counts."""
        dice = self._dice[moment]
        hits = [rate for rate in self._rates[moment] if dice.random() < rate.chance]
        return hits[0] if hits else None

    def draw_seconds(self, rate: FaultRate) -> float:
        """Return a lognormal duration around the median of `rate`."""
        return rate.seconds * math.exp(self._dice[Moment.WORK].gauss(0.0, SPREAD))
