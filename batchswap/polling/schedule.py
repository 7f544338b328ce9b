"""Which task to ask for, and when. Pure: told the time, it never sleeps and never asks anyone."""

from collections import Counter
from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

import msgspec

from batchswap.polling.durations import FINEST, Durations

PRESSING, RELAXED = 0.05, 0.25
"""How likely a poll must be to find its task ended: when submits wait for a place in flight, or there is no limit;
and otherwise."""
FORGOTTEN = 0.98
"""How likely a task must have ended to be asked for although the API calls back when one ends."""
SURE = 50
"""Durations that must be known before such a poll goes before submits; the first ones known are the quick ones', …"""
OVERDUE = 2.0
"""… and how many times older than that the task must be."""
LATE = 0.9
"""Tasks that run longer than this share of all are stragglers: the batch may be waiting for them alone, …"""
AHEAD = 0.05
"""… so while nothing presses they are asked for whenever their age has grown by this share."""
EAGER = 0.2
"""When polls take no submit's place, every task is, from the age at which some have ended."""

OLD = 600.0
"""Seconds from which on somebody may be waiting for one task: it is asked for again soon, however long tasks take, …"""
UNASKED, SHARED = 30.0, 4.0
"""… after so many seconds, or so many for each task that runs: for all together, that is one poll in SHARED seconds."""

SCOUTS = 3
"""The first tasks of a kind in a run test what is believed of it, which may come from other days: …"""
SOONEST, SCOUTING = 0.25, 0.5
"""… without regard to it, they may be asked for from so many seconds on, and when their age has grown by this share."""

ASKED_BY = 3600.0
"""Seconds. However unlikely it is that a task has ended, it is asked for by this age at the latest, …"""
AGAIN = 2.0
"""… and again when it is so many times older: no callback is waited for without an end."""

FEW = 2
"""Tasks that may be found ended without a callback, beyond as many as came with one, before polls take over."""


class WatchedTask(msgspec.Struct):
    """A task that runs at the API. Times are the caller's seconds."""

    started: float
    seen: float
    """When it was last known to run."""
    durations: Durations
    not_before: float = -inf
    is_scout: bool = False
    held: bool = False
    """A worker has it in hand."""
    called: bool = False
    """A callback said that it ended."""
    pressing: float = inf
    relaxed: float = inf
    """When it is likely enough to have ended to be asked for, if submits wait for a place, and if none does."""

    def ripe_at(self, *, pressing: bool) -> float:
        return self.pressing if pressing else self.relaxed


class CallbackTrust(msgspec.Struct):
    """What became of the callbacks that were asked for.

    An address that the API cannot reach is the commonest mistake, and nobody tells of it but the tasks that end
    without a callback.
    """

    are_expected: bool
    came: int = 0
    missed: int = 0
    """Tasks that a poll found ended of which no callback had told."""

    def __str__(self) -> str:
        return f"{self.missed} tasks ended without a callback, and {self.came or 'none'} with one"

    @property
    def fail(self) -> bool:
        """Whether more are lost than come."""
        return self.are_expected and self.missed > self.came + FEW

    def are_relied_on(self, *, is_scout: bool) -> bool:
        """Whether a task need not be asked for as if there were none. Until the first has come, scouts are."""
        return self.are_expected and not self.fail and not (is_scout and not self.came)


class Agenda:
    """The running tasks, and which of them to ask for. `group` is what tasks of alike duration share."""

    def __init__(self, *, expects_calls: bool = False) -> None:
        """`expects_calls`: the API is to call back, and polls are only for what it forgets, as long as it does."""
        self.calls = CallbackTrust(expects_calls)
        self._watched: dict[int, WatchedTask] = {}
        self._durations: dict[str, Durations] = {}
        self._coming: list[tuple[float, int]] = []
        """A heap of dues; an entry that its watch no longer has is void."""
        self._due: dict[int, None] = {}
        """In the order in which they became due: the first ones have mostly waited for longest."""
        self._scouts: Counter[str] = Counter()
        self._ended, self._learned_at = 0, 1

    def __len__(self) -> int:
        return len(self._watched)

    def durations(self, group: str) -> Durations:
        """Of the tasks of a group. "a/b" is a part of "a" and starts from what is known of that."""
        found = self._durations.get(group)
        if found is None:
            whole, _, part = group.rpartition("/")
            found = self._durations[group] = Durations(self.durations(whole) if part and whole else None)
        return found

    def recall(self, history: Iterable[tuple[str, float]]) -> None:
        """Groups, and seconds that tasks of them took in earlier runs, oldest first. Before anything is watched."""
        for group, took in history:
            self.durations(group).ended(took or 0.5, 0.0)  # an API that counts whole seconds says 0 for less than one
        for durations in self._durations.values():
            durations.fade()

    def watch(self, task_id: int, group: str, started: float) -> None:
        """A task was accepted at `started`. A restart puts in what the ledger has running."""
        self._scouts[group] += 1
        is_scout = self._scouts[group] <= SCOUTS
        self._watched[task_id] = WatchedTask(started, started, self.durations(group), is_scout=is_scout)
        self._plan(task_id)

    def likeliest(self, now: float, *, pressing: bool) -> int | None:
        """The task that is most overdue to be asked for; None: none is ripe. `pressing`: submits wait for a place."""
        self._advance(now)
        best, most = None, -1.0
        for task_id in self._worth_a_look(now, pressing=pressing):
            watch = self._watched[task_id]
            # Nobody is overdue by more than their wait, which is quicker to tell.
            if (watch.called or now - watch.seen > most) and (overdue := self._overdue(watch, now)) > most:
                best, most = task_id, overdue
        return best

    def _worth_a_look(self, now: float, *, pressing: bool) -> list[int]:
        """The due tasks that are ripe; of those alike that were never asked for, only the oldest is overdue most."""
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
        """Whether a callback is so late that the poll in its place need not wait until everything is submitted."""
        self._advance(now)
        relies = self.calls.are_relied_on(is_scout=False)
        return relies and any(self._is_forgotten(task_id, now) for task_id in self._due)

    def _is_forgotten(self, task_id: int, now: float) -> bool:
        watch = self._watched[task_id]
        if watch.called or not self.calls.are_relied_on(is_scout=watch.is_scout):
            return watch.called
        return watch.durations.seen >= SURE and now - watch.started > OVERDUE * (watch.pressing - watch.started)

    def take(self, task_id: int) -> None:
        """A worker has the task in hand until it is given back, ended or dropped."""
        self._watched[task_id].held = True
        self._due.pop(task_id, None)

    def in_hand(self, task_id: int) -> bool:
        """Whether a worker has the task. A task that is not watched is in nobody's."""
        return task_id in self._watched and self._watched[task_id].held

    def next_at(self, now: float, *, pressing: bool) -> float:
        """When `likeliest` will have something. inf: everything is in hand, or nothing runs."""
        self._advance(now)
        if pressing and self._due:
            return now
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
        failed = self.calls.fail
        self.calls.missed += not watch.called
        seen, found = watch.seen - watch.started, now - watch.started
        if took is None:
            age = (max(seen, FINEST) * max(found, FINEST)) ** 0.5
        else:
            blur = 1.0 if took == int(took) else 0.0  # both Unix times may be whole seconds, cut off
            age = (max(seen, min(took - blur, found)) + min(found, max(took + blur, seen))) / 2
        watch.durations.ended(age, seen)
        self._ended += 1
        if self._ended >= self._learned_at or self.calls.fail != failed:  # often at first, then ever more seldom
            self._learned_at = self._ended + 1 + self._ended // 4
            for other, still in self._watched.items():
                if not still.held:
                    self._plan(other)

    def drop(self, task_id: int) -> None:
        """The task is not to be waited for any longer, and teaches nothing."""
        self._watched.pop(task_id, None)
        self._due.pop(task_id, None)

    def _plan(self, task_id: int) -> None:
        watch = self._watched[task_id]
        watch.relaxed = self._ripe_at(watch, RELAXED)
        watch.pressing = min(self._ripe_at(watch, PRESSING), watch.relaxed)
        self._due.pop(task_id, None)
        heappush(self._coming, (watch.pressing, task_id))

    def _advance(self, now: float) -> None:
        """Move what has become due by `now` from the heap, and drop what is void from its top."""
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
        """The age at which a task that ran at age `seen` is worth a poll, if no callback is expected."""
        share, late = (EAGER, PRESSING) if chance == PRESSING else (AHEAD, LATE)
        durations = watch.durations
        age = min(durations.age_at(seen, chance), max(durations.age_at(0.0, late), seen * (1.0 + share), FINEST))
        if watch.is_scout or seen > SOONEST:  # who ran longer than expected may be of no known kind
            grown = 1.0 + (EAGER if chance == PRESSING else SCOUTING)
            age = min(age, max(seen * grown, SOONEST))
        return min(age, max(OLD, seen + max(UNASKED, SHARED * len(self._watched))))

    def _overdue(self, watch: WatchedTask, now: float) -> float:
        if watch.called:
            return inf
        return watch.durations.overdue(watch.seen - watch.started, now - watch.started)
