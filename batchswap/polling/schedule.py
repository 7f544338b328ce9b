"""The schedule of polls. Pure: the caller passes the time."""

from collections import Counter
from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

import msgspec

from batchswap.polling.durations import FINEST, Durations

PRESSING, RELAXED = 0.05, 0.25
"""Least chance that a task has ended before it is polled. PRESSING applies while submits wait for a place in flight,
and if there is no rate limit; RELAXED applies otherwise."""
FORGOTTEN = 0.98
"""The same chance while the API calls back when tasks end."""
SURE = 50
"""Least number of known durations before the poll for a missing callback goes before submits. The first durations to
be known are those of quick tasks."""
OVERDUE = 2.0
"""Such a poll also requires the task to be this many times older than the age for its first poll."""
LATE = 0.9
"""Tasks that run longer than this share of all tasks are stragglers, which the batch may be waiting for."""
AHEAD = 0.05
"""While no submit waits, a straggler is polled each time its age has grown by this share."""
EAGER = 0.2
"""The same share for all tasks while PRESSING applies, from the age at which some tasks have ended."""

OLD = 600.0
"""Age in seconds from which a task is polled regularly, however long tasks take, because a user may be waiting."""
UNASKED, SHARED = 30.0, 4.0
"""Seconds between these polls: UNASKED, or SHARED times the number of running tasks if that is longer."""

SCOUTS = 3
"""Number of tasks per group that are polled earlier at the start of a run, because the known durations may be old."""
SOONEST, SCOUTING = 0.25, 0.5
"""Age in seconds of a scout's first poll, and the share by which its age grows between polls."""

ASKED_BY = 3600.0
"""Age in seconds at which a task is polled at the latest, even if it has probably not ended."""
AGAIN = 2.0
"""Factor by which the age then grows at most until the next poll, so that no callback is awaited forever."""

FEW = 2
"""Callbacks that may be missing, in excess of those that came, before the tasks are polled as without callbacks."""


class WatchedTask(msgspec.Struct):
    """A running task. Times are the caller's seconds."""

    started: float
    seen: float
    """When it was last known to be running."""
    durations: Durations
    not_before: float = -inf
    is_scout: bool = False
    held: bool = False
    """Whether a worker handles it."""
    called: bool = False
    """Whether a callback reported its end."""
    pressing: float = inf
    relaxed: float = inf
    """When to poll it, for the chances PRESSING and RELAXED."""

    def ripe_at(self, *, pressing: bool) -> float:
        return self.pressing if pressing else self.relaxed


class CallbackTrust(msgspec.Struct):
    """Counts callbacks that came and that are missing.

    A callback URL that the API cannot reach is a common mistake. Only tasks that end without a callback reveal it.
    """

    are_expected: bool
    came: int = 0
    missed: int = 0
    """Tasks that a poll found to be ended before their callback."""

    def __str__(self) -> str:
        return f"{self.missed} tasks ended without a callback, and {self.came or 'none'} with one"

    @property
    def fail(self) -> bool:
        """Whether too many callbacks are missing."""
        return self.are_expected and self.missed > self.came + FEW

    def are_relied_on(self, *, is_scout: bool) -> bool:
        """Return whether to wait for a task's callback. Scouts are polled until the first callback has come."""
        return self.are_expected and not self.fail and not (is_scout and not self.came)


class Agenda:
    """The running tasks and their polls. Tasks of a `group` have similar durations."""

    def __init__(self, *, expects_calls: bool = False) -> None:
        """With `expects_calls`, the API calls back when tasks end, and polls only replace missing callbacks."""
        self.calls = CallbackTrust(expects_calls)
        self._watched: dict[int, WatchedTask] = {}
        self._durations: dict[str, Durations] = {}
        self._coming: list[tuple[float, int]] = []
        """A heap of (time, task). Entries with an outdated time are ignored."""
        self._due: dict[int, None] = {}
        """Due tasks in the order in which they became due; the first ones have mostly waited longest."""
        self._scouts: Counter[str] = Counter()
        self._ended, self._learned_at = 0, 1

    def __len__(self) -> int:
        return len(self._watched)

    def durations(self, group: str) -> Durations:
        """Return the durations of a group. The group "a/b" is a part of "a" and starts from its durations."""
        found = self._durations.get(group)
        if found is None:
            whole, _, part = group.rpartition("/")
            found = self._durations[group] = Durations(self.durations(whole) if part and whole else None)
        return found

    def recall(self, history: Iterable[tuple[str, float]]) -> None:
        """Learn the durations of earlier runs, as (group, seconds), oldest first. Call it before `watch`."""
        for group, took in history:
            self.durations(group).ended(took or 0.5, 0.0)  # an API with whole seconds reports 0 for less than one
        for durations in self._durations.values():
            durations.fade()

    def watch(self, task_id: int, group: str, started: float, seen: float | None = None) -> None:
        """Add a task that was accepted at `started`, perhaps by an earlier run, which found it running at `seen`."""
        self._scouts[group] += 1
        is_scout, durations = self._scouts[group] <= SCOUTS, self.durations(group)
        if seen is not None and seen > started:
            durations.survived(0.0, seen - started)
        self._watched[task_id] = WatchedTask(started, max(started, seen or started), durations, is_scout=is_scout)
        self._plan(task_id)

    def likeliest(self, now: float, *, pressing: bool) -> int | None:
        """Return the most overdue task; None if no poll is worthwhile. `pressing` means that submits are waiting."""
        self._advance(now)
        best, most = None, -1.0
        for task_id in self._candidates(now, pressing=pressing):
            watch = self._watched[task_id]
            # A task is overdue by at most the time since its last poll, which is quicker to compute.
            if (watch.called or now - watch.seen > most) and (overdue := self._overdue(watch, now)) > most:
                best, most = task_id, overdue
        return best

    def _candidates(self, now: float, *, pressing: bool) -> list[int]:
        """Return the tasks to compare. Of equal tasks that were never polled, only the oldest is a candidate."""
        found, oldest = [], dict[Durations, int]()
        for task_id in self._due:
            watch = self._watched[task_id]
            if watch.ripe_at(pressing=pressing) > now:
                continue
            if watch.called or watch.seen > watch.started:
                found.append(task_id)
            elif (other := oldest.get(watch.durations)) is None or watch.started < self._watched[other].started:
                oldest[watch.durations] = task_id
        return [*found, *oldest.values()]

    def has_forgotten(self, now: float) -> bool:
        """Return whether a callback is so late that its poll should go before submits."""
        self._advance(now)
        relies = self.calls.are_relied_on(is_scout=False)
        return relies and any(self._is_forgotten(task_id, now) for task_id in self._due)

    def _is_forgotten(self, task_id: int, now: float) -> bool:
        watch = self._watched[task_id]
        if watch.called or not self.calls.are_relied_on(is_scout=watch.is_scout):
            return watch.called
        return watch.durations.seen >= SURE and now - watch.started > OVERDUE * (watch.pressing - watch.started)

    def take(self, task_id: int) -> None:
        """Give the task to a worker until it is put back, ended or dropped."""
        self._watched[task_id].held = True
        self._due.pop(task_id, None)

    def in_hand(self, task_id: int) -> bool:
        """Return whether a worker handles the task."""
        return task_id in self._watched and self._watched[task_id].held

    def next_at(self, now: float, *, pressing: bool) -> float:
        """Return when `likeliest` will return a task; inf if all tasks are handled by workers, or none is running."""
        self._advance(now)
        if pressing and self._due:
            return now
        coming = self._coming[0][0] if self._coming else inf
        ripe = (self._watched[task_id].ripe_at(pressing=pressing) for task_id in self._due)
        return min(coming, min(ripe, default=inf))

    def still_running(self, task_id: int, at: float) -> None:
        """Put the task back after a poll that left at `at` and found it running."""
        watch = self._watched[task_id]
        watch.durations.survived(watch.seen - watch.started, at - watch.started)
        watch.seen = max(watch.seen, at)
        watch.held = watch.called = False
        self._plan(task_id)

    def put_back(self, task_id: int, not_before: float) -> None:
        """Put the task back after a poll without information. Do not poll it again before `not_before`."""
        watch = self._watched[task_id]
        watch.held, watch.not_before = False, not_before
        self._plan(task_id)

    def called_back(self, task_id: int) -> None:
        """Note a callback, so that the next poll is due at once. Unknown tasks are ignored."""
        watch = self._watched.get(task_id)
        if watch is not None:
            watch.called = True
            if not watch.held:
                self._plan(task_id)

    def ended(self, task_id: int, now: float, took: float | None) -> None:
        """Note that the task ended. `took` is its duration from the API, used as far as it agrees with the polls."""
        watch = self._watched[task_id]
        self.drop(task_id)
        failed = self.calls.fail
        self.calls.missed += not watch.called
        seen, found = watch.seen - watch.started, now - watch.started
        if took is None:
            age = (max(seen, FINEST) * max(found, FINEST)) ** 0.5
        else:
            blur = 1.0 if took == int(took) else 0.0  # both Unix times may be truncated to whole seconds
            age = (max(seen, min(took - blur, found)) + min(found, max(took + blur, seen))) / 2
        watch.durations.ended(age, seen)
        self._ended += 1
        if self._ended >= self._learned_at or self.calls.fail != failed:  # often at first, then less and less often
            self._learned_at = self._ended + 1 + self._ended // 4
            self._plan_all()

    def _plan_all(self) -> None:
        """Plan all tasks again that no worker handles, because the durations have changed."""
        for task_id, watch in self._watched.items():
            if not watch.held:
                self._plan(task_id)

    def drop(self, task_id: int) -> None:
        """Remove the task without learning from it."""
        self._watched.pop(task_id, None)
        self._due.pop(task_id, None)

    def _plan(self, task_id: int) -> None:
        watch = self._watched[task_id]
        watch.relaxed = self._ripe_at(watch, RELAXED)
        watch.pressing = min(self._ripe_at(watch, PRESSING), watch.relaxed)
        self._due.pop(task_id, None)
        heappush(self._coming, (watch.pressing, task_id))

    def _advance(self, now: float) -> None:
        """Move tasks that have become due by `now` from the heap, and drop outdated entries from its top."""
        while self._coming:
            due, task_id = self._coming[0]
            watch = self._watched.get(task_id)
            if watch is None or watch.held or task_id in self._due or due != watch.pressing:
                heappop(self._coming)
            elif due <= now:
                heappop(self._coming)
                self._due[task_id] = None
            else:
                return

    def _ripe_at(self, watch: WatchedTask, chance: float) -> float:
        if watch.called:
            return watch.not_before
        durations, seen = watch.durations, watch.seen - watch.started
        relies = self.calls.are_relied_on(is_scout=watch.is_scout)
        age = durations.age_at(seen, FORGOTTEN) if relies else self._likely_at(watch, seen, chance)
        latest = max(seen * AGAIN, min(durations.age_at(0.0, FORGOTTEN), ASKED_BY))
        return max(watch.started + min(age, latest), watch.not_before)

    def _likely_at(self, watch: WatchedTask, seen: float, chance: float) -> float:
        """Return the age at which to poll a task that was running at age `seen`, if no callback is expected."""
        share, late = (EAGER, PRESSING) if chance == PRESSING else (AHEAD, LATE)
        durations = watch.durations
        age = min(durations.age_at(seen, chance), max(durations.age_at(0.0, late), seen * (1.0 + share), FINEST))
        if watch.is_scout or seen > SOONEST:  # a task that ran longer than expected may be of a new kind
            grown = 1.0 + (EAGER if chance == PRESSING else SCOUTING)
            age = min(age, max(seen * grown, SOONEST))
        return min(age, max(OLD, seen + max(UNASKED, SHARED * len(self._watched))))

    def _overdue(self, watch: WatchedTask, now: float) -> float:
        if watch.called:
            return inf
        return watch.durations.overdue(watch.seen - watch.started, now - watch.started)
