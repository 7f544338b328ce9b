"""What is due next. Pure: told the time, it never sleeps and never asks anyone.

Every request takes a place in the key's window, so a poll that comes too early costs a submit. The agenda learns how
long tasks take (`Durations`) and gives each place to a submit while one is allowed, else to the poll that most
likely finds its task finished, else to nobody: then it says how long to wait.
"""

from bisect import bisect_left
from heapq import heappop, heappush
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
PRIOR_WEIGHT = 0.3
"""Tasks that the prior counts as."""

PRESSING, RELAXED = 0.05, 0.25
"""How likely a poll must be to find its task ended: when submits wait for a place in flight, and otherwise."""
FORGOTTEN = 0.98
"""How likely a task must have ended to be asked for although the API calls back when one ends."""
LATE = 0.9
"""Tasks that run longer than this share of all are stragglers: the batch may be waiting for them alone, …"""
AHEAD = 0.1
"""… so while nothing presses they are asked for whenever their age has grown by this share."""


def _edge(k: float) -> float:
    return FINEST * float(2.0 ** (k / PER_OCTAVE))


def _prior_share(k: int) -> float:
    """The share of the tasks that lasted until bin `k` which end in it: a logistic in log time, smooth and broad."""
    octaves = log2(_edge(k) / PRIOR_MEDIAN)
    ended = [1.0 / (1.0 + exp(-(octaves + step / PER_OCTAVE) / (PRIOR_SPREAD / 4))) for step in (0, 1)]
    return (ended[1] - ended[0]) / (1.0 - ended[0])


_PRIOR = tuple(_prior_share(k) for k in range(BINS))


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
        place = _place(age)
        k = min(int(place), BINS - 1)
        self._ends[k] += 1.0
        self._risk[k] += k + 1.0 - place  # who ended in a bin was at risk for all of it, as in a life table
        self.seen += 1

    def _hazard(self) -> list[float]:
        """Cumulative hazard at the edges of the bins."""
        if self._known is None:
            total, sums = 0.0, [0.0]
            for ends, risk, prior in zip(self._ends, self._risk, _PRIOR, strict=True):
                share = (ends + PRIOR_WEIGHT * prior) / (risk + PRIOR_WEIGHT)
                total -= log(1.0 - min(share, 1.0 - 1e-6))
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

    def worth(self, last_seen: float, age: float) -> float:
        """Seconds of delay that asking now is worth; compares polls that want the same place in the window.

        For a constant hazard h, asking when the chance of having ended is p is optimal exactly when a poll costs
        (p / (1 - p) + ln(1 - p)) / h seconds of delay. So of two equal chances the slower task's counts for more: it
        gains less by waiting. Here h is the hazard of the time to come.
        """
        reached = self._at(age)
        risen = min(reached - self._at(last_seen), 50.0)
        ahead = max(age * AHEAD, FINEST)
        hazard = max(self._at(age + ahead) - reached, 1e-9) / ahead
        return (exp(risen) - 1.0 - risen) / hazard

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
    durations: Durations
    not_before: float = -inf
    held: bool = False
    """A worker has it in hand."""
    called: bool = False
    """A callback said that it ended."""
    pressing: float = inf
    relaxed: float = inf
    """When it is likely enough to have ended to be asked for, if submits wait for a place, and if none does."""

    def ripe_at(self, *, pressing: bool) -> float:
        return self.pressing if pressing else self.relaxed


class Agenda:
    """The running tasks, and which of them to ask for. `group` is what tasks of alike duration share."""

    def __init__(self, *, expects_calls: bool = False) -> None:
        """`expects_calls`: the API calls back, so polls are only for what it forgets."""
        self._expects_calls = expects_calls
        self._watched: dict[int, Watch] = {}
        self._durations: dict[str, Durations] = {}
        self._coming: list[tuple[float, int]] = []
        """A heap of dues; an entry that its watch no longer has is void."""
        self._due: set[int] = set()
        self._learned_at = 1

    def __len__(self) -> int:
        return len(self._watched)

    def durations(self, group: str) -> Durations:
        found = self._durations.get(group)
        if found is None:
            found = self._durations[group] = Durations()
        return found

    def watch(self, task_id: int, group: str, started: float, now: float) -> None:
        """A task was accepted at `started`. A restart puts in what the ledger has running."""
        self._watched[task_id] = Watch(started, started, self.durations(group))
        self._plan(task_id)

    def likeliest(self, now: float, *, pressing: bool) -> int | None:
        """The task that is most worth asking for now; None: none is yet. `pressing`: submits wait for a place."""
        self._advance(now)
        best, most = None, -1.0
        for task_id in self._due:
            watch = self._watched[task_id]
            if watch.ripe_at(pressing=pressing) <= now and (worth := self._worth(watch, now)) > most:
                best, most = task_id, worth
        return best

    def take(self, task_id: int) -> None:
        """A worker has the task in hand until it is given back, ended or dropped."""
        self._watched[task_id].held = True
        self._due.discard(task_id)

    def in_hand(self, task_id: int) -> bool:
        """Whether a worker has the task. A task that is not watched is in nobody's."""
        return task_id in self._watched and self._watched[task_id].held

    def next_at(self, now: float, *, pressing: bool) -> float:
        """When `likeliest` will have something. inf: everything is in hand, or nothing runs."""
        self._advance(now)
        coming = self._coming[0][0] if self._coming else inf
        ripe = (self._watched[task_id].ripe_at(pressing=pressing) for task_id in self._due)
        return min(coming, min(ripe, default=inf))

    def still_running(self, task_id: int, at: float) -> None:
        """A poll that left at `at` found the task running: give it back."""
        watch = self._watched[task_id]
        watch.durations.survived(watch.seen - watch.started, at - watch.started)
        watch.seen = max(watch.seen, at)
        watch.held = watch.called = False
        self._plan(task_id)

    def put_back(self, task_id: int, not_before: float) -> None:
        """The poll told nothing: not again before `not_before`."""
        watch = self._watched[task_id]
        watch.held, watch.not_before = False, not_before
        self._plan(task_id)

    def called_back(self, task_id: int) -> None:
        """A callback came: the next poll is due at once. Unknown tasks are left alone."""
        watch = self._watched.get(task_id)
        if watch is not None:
            watch.called = True
            if not watch.held:
                self._plan(task_id)

    def ended(self, task_id: int, now: float, took: float | None) -> None:
        """The task ended. `took` is what the API says of its duration, believed as far as it fits what we saw."""
        watch = self._watched[task_id]
        self.drop(task_id)
        earliest, latest = watch.seen - watch.started, now - watch.started
        middle = (max(earliest, FINEST) * max(latest, FINEST)) ** 0.5
        age = min(max(took, earliest), latest) if took is not None else middle
        durations = watch.durations
        durations.ended(age, earliest)
        if durations.seen >= self._learned_at:  # often at first, then ever more seldom
            self._learned_at = durations.seen + 1 + durations.seen // 4
            for other, still in self._watched.items():
                if not still.held:
                    self._plan(other)

    def drop(self, task_id: int) -> None:
        """The task is not to be waited for any longer, and teaches nothing."""
        self._watched.pop(task_id, None)
        self._due.discard(task_id)

    def _plan(self, task_id: int) -> None:
        watch = self._watched[task_id]
        watch.pressing = self._ripe_at(watch, PRESSING)
        watch.relaxed = self._ripe_at(watch, RELAXED)
        self._due.discard(task_id)
        heappush(self._coming, (min(watch.pressing, watch.relaxed), task_id))

    def _advance(self, now: float) -> None:
        """Move what has become due by `now` from the heap, and drop what is void from its top."""
        while self._coming:
            due, task_id = self._coming[0]
            watch = self._watched.get(task_id)
            if watch is None or watch.held or task_id in self._due or due != min(watch.pressing, watch.relaxed):
                heappop(self._coming)
            elif due <= now:
                heappop(self._coming)
                self._due.add(task_id)
            else:
                return

    def _ripe_at(self, watch: Watch, chance: float) -> float:
        if watch.called:
            return watch.not_before
        durations, seen = watch.durations, watch.seen - watch.started
        age = durations.age_at(seen, FORGOTTEN if self._expects_calls else chance)
        if chance == RELAXED and not self._expects_calls:
            age = min(age, max(durations.age_at(0.0, LATE), seen / (1.0 - AHEAD), FINEST))
        return max(watch.started + age, watch.not_before)

    def _worth(self, watch: Watch, now: float) -> float:
        if watch.called:
            return inf
        return watch.durations.worth(watch.seen - watch.started, now - watch.started)
