"""Learn how long tasks take. Pure."""

from bisect import bisect_left
from math import exp, inf, log, log2

FINEST = 0.01
"""Seconds. Shorter durations count as equal."""
PER_OCTAVE = 4
BINS = 92
"""From 10 ms to 24 hours in quarter octaves."""
PRIOR_MEDIAN = 20.0
PRIOR_SPREAD = 4.0
"""Octaves. Without history, tasks are assumed to take seconds to minutes (api.md)."""
PRIOR_WEIGHT = 0.3
"""Weight of the prior, in ended tasks."""
PARENT_WEIGHT = 2.0
"""Weight of the parent group's durations, in ended tasks."""
HISTORY_WEIGHT = 20.0
"""Weight of the durations from earlier runs, in ended tasks, because they may be out of date."""
MEMORY = 400.0
"""Ended tasks after which the weight is halved, because a service may be slower by day than by night."""
STALE = 1 / 32
"""Share of new observations that the tables may lack, because computing them is expensive."""
SURPRISE, DOUBT = 0.01, 0.25
"""A task whose end was less likely than SURPRISE reduces the weight to the share DOUBT."""


def _edge(k: float) -> float:
    return FINEST * float(2.0 ** (k / PER_OCTAVE))


def _prior_share(k: int) -> float:
    """Return the prior hazard of bin `k`: a broad logistic distribution in log time."""
    octaves = log2(_edge(k) / PRIOR_MEDIAN)
    ended = [1.0 / (1.0 + exp(-(octaves + step / PER_OCTAVE) / (PRIOR_SPREAD / 4))) for step in (0, 1)]
    return (ended[1] - ended[0]) / (1.0 - ended[0])


_EDGES = tuple(_edge(k) for k in range(BINS + 1))
_WIDTHS = [_edge(k + 1) - _edge(k) for k in range(BINS)]
_PRIOR = [_prior_share(k) for k in range(BINS)]


class Durations:
    """Durations of tasks, learned from tasks found finished and tasks found still running.

    The hazard (the chance of ending, per time) is counted in bins of log time. In this way, unfinished tasks count as
    well as finished ones, any distribution can be learned, and the broad prior fades after a few tasks.
    """

    def __init__(self, parent: "Durations | None" = None) -> None:
        """`parent` has the durations of a larger group. It learns from these tasks too, and they start from it."""
        self._parent = parent
        self._ends = [0.0] * BINS
        self._risk = [0.0] * BINS
        self._weight = 0.0
        """The weight of the counts, in ended tasks."""
        self._changes = 0
        self._known: tuple[list[float], list[float]] = ([], [])
        self._known_at = -1
        self.seen = 0
        """Number of tasks found finished."""

    @property
    def is_known(self) -> bool:
        """Return whether a task of this group, or of the larger group, was found finished."""
        return self.seen > 0 or (self._parent is not None and self._parent.is_known)

    def survived(self, start: float, end: float) -> None:
        """Learn that a task that was running at age `start` was still running at age `end` (seconds)."""
        if self._parent is not None:
            self._parent.survived(start, end)
        self._survive(start, end)

    def _survive(self, start: float, end: float) -> None:
        low, high = _place(start), _place(end)
        for k in range(int(low), min(int(high) + 1, BINS)):
            self._risk[k] += max(0.0, min(high, k + 1.0) - max(low, float(k)))
        self._changes += 1

    def ended(self, age: float, last_seen: float) -> None:
        """Learn that a task ended at `age` seconds, and was last known to be running at age `last_seen`."""
        if self._parent is not None:
            self._parent.ended(age, last_seen)
        if self._is_surprising(age, last_seen):
            self.fade(self._weight * DOUBT)
        self._survive(last_seen, age)
        place = _place(age)
        k = min(int(place), BINS - 1)
        self._ends[k] += 1.0
        self._risk[k] += k + 1.0 - place  # a task that ends in a bin counts for the whole bin, as in a life table
        self.seen += 1
        self._weight += 1.0
        if self._weight >= MEMORY:
            self.fade(MEMORY / 2)

    def _is_surprising(self, age: float, last_seen: float) -> bool:
        soon = max(age, FINEST) * 2.0 ** (1.0 / PER_OCTAVE)  # one bin later, because bins are not divided
        return self.chance(0.0, soon) < SURPRISE or self.chance(0.0, last_seen) > 1.0 - SURPRISE

    def fade(self, weight: float = HISTORY_WEIGHT) -> None:
        """Reduce the weight of all observations to at most `weight` ended tasks."""
        if self._weight > weight:
            share = weight / self._weight
            self._ends = [ends * share for ends in self._ends]
            self._risk = [risk * share for risk in self._risk]
            self._changes += 1 + int(self._weight)  # all observations have changed
            self._weight = weight

    def version(self) -> int:
        """Return a number that grows with each observation."""
        return self._changes + (self._parent.version() if self._parent is not None else 0)

    def shares(self) -> list[float]:
        """Return for each bin the share of tasks that end in it, of those that reach it. The parent fills gaps."""
        weight, prior = PRIOR_WEIGHT, _PRIOR
        if self._parent is not None:
            weight, prior = PARENT_WEIGHT, self._parent.shares()
        counts = zip(self._ends, self._risk, prior, strict=True)
        return [(ends + weight * share) / (risk + weight) for ends, risk, share in counts]

    def _tables(self) -> tuple[list[float], list[float]]:
        """Return, for the edges of the bins, the cumulative hazard and the mean seconds that a task has run by then."""
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
        """Return the tables' values at an age, interpolated between the edges."""
        sums, ran = self._tables()
        place = _place(age)
        k = min(int(place), BINS - 1)
        inside = place - k
        between = (age - _EDGES[k]) / (_EDGES[k + 1] - _EDGES[k]) if age > FINEST else 0.0
        return sums[k] + inside * (sums[k + 1] - sums[k]), ran[k] + between * (ran[k + 1] - ran[k])

    def chance(self, last_seen: float, age: float) -> float:
        """Return the probability that a task that was running at age `last_seen` has ended by `age`."""
        return 1.0 - exp(self._at(last_seen)[0] - self._at(age)[0])

    def overdue(self, last_seen: float, age: float) -> float:
        """Return the mean time in seconds for which a task last seen running at `last_seen` has been finished at `age`.

        Polls that compete for a place are compared by this time, because a poll ends exactly this wait. The chance of
        having ended would favour quick tasks, which lose little by waiting.
        """
        (sure, ran_then), (_, ran) = self._at(last_seen), self._at(age)
        # Beyond e^20, the difference is only rounding: such an old task is overdue by all of its wait.
        return max(0.0, age - last_seen - (ran - ran_then) * exp(min(sure, 20.0)))

    def age_at(self, last_seen: float, chance: float) -> float:
        """Return the age at which `chance` is reached for a task running at age `last_seen`; inf beyond 24 hours."""
        sums, _ = self._tables()
        wanted = self._at(last_seen)[0] - log(1.0 - chance)
        k = bisect_left(sums, wanted)
        if k > BINS:
            return inf
        inside = (wanted - sums[k - 1]) / (sums[k] - sums[k - 1]) if k else 0.0
        return max(last_seen, _edge(max(k - 1, 0) + inside))


def _place(age: float) -> float:
    """Convert an age to bins: 0.0 at FINEST, BINS at 24 hours."""
    return min(max(0.0, PER_OCTAVE * log2(max(age, FINEST) / FINEST)), float(BINS))
