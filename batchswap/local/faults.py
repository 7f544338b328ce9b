"""What goes wrong on purpose when a user rehearses with the local server: a pure schedule, drawn with seeded dice.

`429:0.1` is a kind and its chance; `slow:0.5:20` adds how long, in seconds.
"""

import math
from enum import StrEnum
from random import Random

import msgspec

from batchswap.errors import UsageError


class Fault(StrEnum):
    """The kinds, named by the code that the client sees where there is one."""

    RATE_LIMITED = "429"
    MAINTENANCE = "455"
    BROKEN = "500"
    FAILED = "501"
    DISABLED = "505"
    LOST = "lost"  # the submit is accepted, and its answer never arrives
    SLOW = "slow"


class Moment(StrEnum):
    """When a fault is drawn."""

    REQUEST = "request"  # any call, before it is looked at
    ANSWER = "answer"  # a CreateTask that was accepted
    WORK = "work"  # a task, when its turn comes


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
"""Sigma of the lognormal durations of SLOW: most lie between half and twice the median."""


class FaultRate(msgspec.Struct, frozen=True):
    """How often a fault happens: `chance` from 0 to 1. `seconds` is the median of SLOW, unused otherwise."""

    kind: Fault
    chance: float
    seconds: float = 10.0


def parse_fault(text: str) -> FaultRate:
    """`KIND:CHANCE` or `slow:CHANCE:SECONDS`. Raises UsageError."""
    kind, _, rest = text.partition(":")
    chance, _, seconds = rest.partition(":")
    known = ", ".join(Fault)
    if kind not in list(Fault):
        raise UsageError(f"{kind!r} is no fault; there are {known}")
    try:
        rate = FaultRate(Fault(kind), float(chance), float(seconds or 10.0))
    except ValueError:
        raise UsageError(f"{text!r}: write a fault as KIND:CHANCE, or slow:CHANCE:SECONDS") from None
    if not 0 <= rate.chance <= 1 or not math.isfinite(rate.seconds) or rate.seconds < 0:
        raise UsageError(f"{text!r}: the chance lies between 0 and 1, the seconds are not negative")
    return rate


class Schedule:
    """The dice. Each moment has its own, so that more polls do not change which tasks fail."""

    def __init__(self, rates: tuple[FaultRate, ...], seed: int) -> None:
        self._rates = {moment: [r for r in rates if WHEN[r.kind] is moment] for moment in Moment}
        self._dice = {moment: Random(f"{seed} {moment}") for moment in Moment}

    def draw(self, moment: Moment) -> FaultRate | None:
        """The first fault that the dice bring for this moment, in the order in which they were given; mostly None."""
        dice = self._dice[moment]
        hits = [rate for rate in self._rates[moment] if dice.random() < rate.chance]
        return hits[0] if hits else None

    def draw_seconds(self, rate: FaultRate) -> float:
        """How long this one takes: lognormal around its median."""
        return rate.seconds * math.exp(self._dice[Moment.WORK].gauss(0.0, SPREAD))
