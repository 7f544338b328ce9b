"""How long tasks take, learned from what was seen. Pure."""

from bisect import bisect_left
from math import exp, inf, log, log2

FINEST = 0.01
"""Seconds. Durations below are not told apart."""
PER_OCTAVE = 4
BINS = 92
"""From 10 ms to 24 hours in quarter octaves."""
PRIOR_MEDIAN = 20.0
PRIOR_SPREAD = 4.0
"""Octaves. A fresh ledger knows next to nothing: seconds to minutes (api.md)."""
PRIOR_WEIGHT = 0.3
"""Tasks that the prior counts as, …"""
PARENT_WEIGHT = 2.0
"""… and what is known of tasks less alike, for those that have seen little themselves."""
HISTORY_WEIGHT = 20.0
"""Ended tasks that everything known from earlier runs counts as: it need not be true any longer."""
MEMORY = 400.0
"""Ended tasks after which what is known counts half: a service is slower by day than by night."""
STALE = 1 / 32
"""What was learned since the tables were made, as a share of all, that they may lack: making them costs more."""
SURPRISE, DOUBT = 0.01, 0.25
"""A task that ends where so small a share was expected to leaves so much of the weight of what was known."""


def _edge(k: float) -> float:
    return FINEST * float(2.0 ** (k / PER_OCTAVE))


def _prior_share(k: int) -> float:
    """The share of the tasks that lasted until bin `k` which end in it: a logistic in log time, smooth and broad."""
    octaves = log2(_edge(k) / PRIOR_MEDIAN)
    ended = [1.0 / (1.0 + exp(-(octaves + step / PER_OCTAVE) / (PRIOR_SPREAD / 4))) for step in (0, 1)]
    return (ended[1] - ended[0]) / (1.0 - ended[0])


_EDGES = tuple(_edge(k) for k in range(BINS + 1))
_WIDTHS = [_edge(k + 1) - _edge(k) for k in range(BINS)]
_PRIOR = [_prior_share(k) for k in range(BINS)]


class Durations:
    """How long tasks take, from what was seen: tasks found finished, and tasks found still running.

    The hazard (chance of ending, per time) is counted in bins of log time, so tasks that are not finished yet teach as
    well as finished ones, any shape of distribution can be learned, and a broad prior fades after a few tasks.
    """

    def __init__(self, parent: "Durations | None" = None) -> None:
        """`parent`: of the tasks that these are some of. It learns what these learn, and they start from it."""
        self._parent = parent
        self._ends = [0.0] * BINS
        self._risk = [0.0] * BINS
        self._weight = 0.0
        """Ended tasks that the counts stand for."""
        self._changes = 0
        self._known: tuple[list[float], list[float]] = ([], [])
        self._known_at = -1
        self.seen = 0
        """Tasks found finished."""

    def survived(self, start: float, end: float) -> None:
        """A task that was running at age `start` still ran at age `end` (seconds)."""
        if self._parent is not None:
            self._parent.survived(start, end)
        self._survive(start, end)

    def _survive(self, start: float, end: float) -> None:
        low, high = _place(start), _place(end)
        for k in range(int(low), min(int(high) + 1, BINS)):
            self._risk[k] += max(0.0, min(high, k + 1.0) - max(low, float(k)))
        self._changes += 1

    def ended(self, age: float, last_seen: float) -> None:
        """A task ended at `age` seconds; it had been known to run at age `last_seen`."""
        if self._parent is not None:
            self._parent.ended(age, last_seen)
        if self._is_surprising(age, last_seen):
            self.fade(self._weight * DOUBT)
        self._survive(last_seen, age)
        place = _place(age)
        k = min(int(place), BINS - 1)
        self._ends[k] += 1.0
        self._risk[k] += k + 1.0 - place  # who ended in a bin was at risk for all of it, as in a life table
        self.seen += 1
        self._weight += 1.0
        if self._weight >= MEMORY:
            self.fade(MEMORY / 2)

    def _is_surprising(self, age: float, last_seen: float) -> bool:
        soon = max(age, FINEST) * 2.0 ** (1.0 / PER_OCTAVE)  # what ends within one bin is not told apart
        return self.chance(0.0, soon) < SURPRISE or self.chance(0.0, last_seen) > 1.0 - SURPRISE

    def fade(self, weight: float = HISTORY_WEIGHT) -> None:
        """From now on all that is known counts as `weight` ended tasks at most."""
        if self._weight > weight:
            share = weight / self._weight
            self._ends = [ends * share for ends in self._ends]
            self._risk = [risk * share for risk in self._risk]
            self._changes += 1 + int(self._weight)  # all that was known has changed
            self._weight = weight

    def version(self) -> int:
        """Another number whenever something was learned."""
        return self._changes + (self._parent.version() if self._parent is not None else 0)

    def shares(self) -> list[float]:
        """Of the tasks that lasted until a bin, those that end in it: as far as seen, else as the parent has it."""
        weight, prior = PRIOR_WEIGHT, _PRIOR
        if self._parent is not None:
            weight, prior = PARENT_WEIGHT, self._parent.shares()
        counts = zip(self._ends, self._risk, prior, strict=True)
        return [(ends + weight * share) / (risk + weight) for ends, risk, share in counts]

    def _tables(self) -> tuple[list[float], list[float]]:
        """At the edges of the bins: the cumulative hazard, and the seconds that a task has run on average by then."""
        version = self.version()
        if version - self._known_at > self._weight * STALE or self._known_at < 0:
            sums, ran, alive = [0.0], [FINEST], 1.0
            for k, share in enumerate(self.shares()):
                stays = 1.0 - min(share, 1.0 - 1e-6)
                sums.append(sums[-1] - log(stays))
                ran.append(ran[-1] + _WIDTHS[k] * alive * (1.0 + stays) / 2)
                alive *= stays
            self._known, self._known_at = (sums, ran), version
        return self._known

    def _at(self, age: float) -> tuple[float, float]:
        """The tables' values at an age, both by the same line between the edges."""
        sums, ran = self._tables()
        place = _place(age)
        k = min(int(place), BINS - 1)
        inside = place - k
        between = (age - _EDGES[k]) / (_EDGES[k + 1] - _EDGES[k]) if age > FINEST else 0.0
        return sums[k] + inside * (sums[k + 1] - sums[k]), ran[k] + between * (ran[k + 1] - ran[k])

    def chance(self, last_seen: float, age: float) -> float:
        """The probability that a task which ran at age `last_seen` has ended by `age`."""
        return 1.0 - exp(self._at(last_seen)[0] - self._at(age)[0])

    def overdue(self, last_seen: float, age: float) -> float:
        """Seconds that a task which ran at age `last_seen` has, on average, been finished unnoticed at `age`.

        This compares polls that want the same place in the window: whoever is asked, that waiting ends. The chance of
        having ended alone would favour quick tasks, which gain as much again by waiting a moment longer.
        """
        (sure, ran_then), (_, ran) = self._at(last_seen), self._at(age)
        # Beyond e^20 the difference would be rounding alone; so old a task is overdue by all of its wait.
        return max(0.0, age - last_seen - (ran - ran_then) * exp(min(sure, 20.0)))

    def age_at(self, last_seen: float, chance: float) -> float:
        """The age at which `chance` is reached, for a task that ran at age `last_seen`. inf beyond 24 hours."""
        sums, _ = self._tables()
        wanted = self._at(last_seen)[0] - log(1.0 - chance)
        k = bisect_left(sums, wanted)
        if k > BINS:
            return inf
        inside = (wanted - sums[k - 1]) / (sums[k] - sums[k - 1]) if k else 0.0
        return max(last_seen, _edge(max(k - 1, 0) + inside))


def _place(age: float) -> float:
    """An age in bins: 0.0 at FINEST, BINS at 24 hours."""
    return min(max(0.0, PER_OCTAVE * log2(max(age, FINEST) / FINEST)), float(BINS))
