"""What is due next. Pure: told the time, it never sleeps and never asks anyone.

Every request takes a place in the key's window, so a poll that comes too early costs a submit. The agenda learns how
long tasks take (`Durations`) and gives each place to a submit while one is allowed, else to the poll that most
likely finds its task finished, else to nobody: then it says how long to wait.
"""

from bisect import bisect_left
from math import exp, inf, log, log2

import msgspec

FINEST = 0.01
"""Seconds. Durations below are not told apart."""
PER_OCTAVE = 4
BINS = 92
"""From 10 ms to 24 hours in quarter octaves."""
PRIOR_MEDIAN = 20.0
PRIOR_SPREAD = 4.0
"""Octaves. A fresh ledger knows next to nothing: seconds to minutes (api.md)."""
PRIOR_WEIGHT = 0.5
"""Tasks that the prior counts as."""


def _edge(k: float) -> float:
    return FINEST * float(2.0 ** (k / PER_OCTAVE))


def _prior_hazard(k: int) -> float:
    """Chance per bin that a task which lasted until bin `k` ends in it: a logistic in log time, smooth and broad."""
    octaves = log2(_edge(k) / PRIOR_MEDIAN)
    ended = [1.0 / (1.0 + exp(-(octaves + step / PER_OCTAVE) / (PRIOR_SPREAD / 4))) for step in (0, 1)]
    return -log((1.0 - ended[1]) / (1.0 - ended[0]))


_PRIOR = tuple(_prior_hazard(k) for k in range(BINS))


class Durations:
    """How long tasks take, from what was seen: tasks found finished, and tasks found still running.

    The hazard (chance of ending, per time) is counted in bins of log time, so tasks that are not finished yet teach as
    well as finished ones, any shape of distribution can be learned, and a broad prior fades after a few tasks.
    """

    def __init__(self) -> None:
        self._ends = [0.0] * BINS
        self._risk = [0.0] * BINS
        self._known: list[float] | None = None
        self.seen = 0
        """Tasks found finished."""

    def survived(self, start: float, end: float) -> None:
        """A task that was running at age `start` still ran at age `end` (seconds)."""
        low, high = _place(start), _place(end)
        for k in range(int(low), min(int(high) + 1, BINS)):
            self._risk[k] += max(0.0, min(high, k + 1.0) - max(low, float(k)))
        self._known = None

    def ended(self, age: float, last_seen: float) -> None:
        """A task ended at `age` seconds; it had been known to run at age `last_seen`."""
        self.survived(last_seen, age)
        self._ends[min(int(_place(age)), BINS - 1)] += 1.0
        self.seen += 1

    def _hazard(self) -> list[float]:
        """Cumulative hazard at the edges of the bins."""
        if self._known is None:
            total, sums = 0.0, [0.0]
            for ends, risk, prior in zip(self._ends, self._risk, _PRIOR, strict=True):
                total += (ends + PRIOR_WEIGHT * prior) / (risk + PRIOR_WEIGHT)
                sums.append(total)
            self._known = sums
        return self._known

    def _at(self, age: float) -> float:
        place = _place(age)
        k = min(int(place), BINS - 1)
        sums = self._hazard()
        return sums[k] + (place - k) * (sums[k + 1] - sums[k])

    def chance(self, last_seen: float, age: float) -> float:
        """The probability that a task which ran at age `last_seen` has ended by `age`."""
        return 1.0 - exp(self._at(last_seen) - self._at(age))

    def age_at(self, last_seen: float, chance: float) -> float:
        """The age at which `chance` is reached, for a task that ran at age `last_seen`. inf beyond 24 hours."""
        sums = self._hazard()
        wanted = self._at(last_seen) - log(1.0 - chance)
        k = bisect_left(sums, wanted)
        if k > BINS:
            return inf
        inside = (wanted - sums[k - 1]) / (sums[k] - sums[k - 1]) if k else 0.0
        return max(last_seen, _edge(max(k - 1, 0) + inside))


def _place(age: float) -> float:
    """An age in bins: 0.0 at FINEST, BINS at 24 hours."""
    return min(max(0.0, PER_OCTAVE * log2(max(age, FINEST) / FINEST)), float(BINS))


class Watch(msgspec.Struct):
    """A task that runs at the API. Times are the caller's seconds."""

    started: float
    seen: float
    """When it was last known to run."""
    group: str
    not_before: float = -inf
    held: bool = False
    """A worker has it in hand."""
    called: bool = False
    """A callback said that it ended."""


class Agenda:
    """The running tasks, and which of them to ask for. `group` is what tasks of alike duration share."""

    def __init__(self) -> None:
        self._watched: dict[int, Watch] = {}
        self._durations: dict[str, Durations] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def durations(self, group: str) -> Durations:
        return self._durations.setdefault(group, Durations())

    def watch(self, task_id: int, group: str, started: float, now: float) -> None:
        """A task was accepted at `started`. A restart puts in what the ledger has running."""
        self._watched[task_id] = Watch(started, started, group, now if started < now else -inf)

    def likeliest(self, now: float, threshold: float) -> int | None:
        """The task that most likely has ended, if that is at least as likely as `threshold`."""
        best, best_chance = None, threshold
        for task_id, watch in self._watched.items():
            if watch.held or watch.not_before > now:
                continue
            chance = self._chance(watch, now)
            if chance >= best_chance:
                best, best_chance = task_id, chance
        return best

    def take(self, task_id: int) -> None:
        """A worker has the task in hand until it is given back, ended or dropped."""
        self._watched[task_id].held = True

    def _chance(self, watch: Watch, now: float) -> float:
        if watch.called:
            return 1.0
        return self.durations(watch.group).chance(watch.seen - watch.started, now - watch.started)

    def in_hand(self, task_id: int) -> bool:
        """Whether a worker has the task. A task that is not watched is in nobody's."""
        return task_id in self._watched and self._watched[task_id].held

    def next_at(self, threshold: float) -> float:
        """When `likeliest` will have something. inf: everything is in hand, or nothing runs."""
        return min((self._due(w, threshold) for w in self._watched.values() if not w.held), default=inf)

    def _due(self, watch: Watch, threshold: float) -> float:
        if watch.called:
            return watch.not_before
        age = self.durations(watch.group).age_at(watch.seen - watch.started, threshold)
        return max(watch.started + age, watch.not_before)

    def still_running(self, task_id: int, at: float) -> None:
        """A poll that left at `at` found the task running: give it back."""
        watch = self._watched[task_id]
        self.durations(watch.group).survived(watch.seen - watch.started, at - watch.started)
        watch.seen = max(watch.seen, at)
        watch.held = watch.called = False

    def put_back(self, task_id: int, not_before: float) -> None:
        """The poll told nothing: not again before `not_before`."""
        watch = self._watched[task_id]
        watch.held, watch.not_before = False, not_before

    def called_back(self, task_id: int) -> None:
        """A callback came: the next poll is due at once. Unknown tasks are left alone."""
        if task_id in self._watched:
            self._watched[task_id].called = True

    def ended(self, task_id: int, now: float, took: float | None) -> None:
        """The task ended. `took` is what the API says of its duration, believed as far as it fits what we saw."""
        watch = self._watched.pop(task_id)
        earliest, latest = watch.seen - watch.started, now - watch.started
        middle = (max(earliest, FINEST) * max(latest, FINEST)) ** 0.5
        age = min(max(took, earliest), latest) if took is not None else middle
        self.durations(watch.group).ended(age, earliest)

    def drop(self, task_id: int) -> None:
        """The task is not to be waited for any longer, and teaches nothing."""
        self._watched.pop(task_id, None)
