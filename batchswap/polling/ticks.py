"""The polls of a tick: each running task at most once, and only if it has probably ended. Pure."""

from math import inf

from batchswap.polling.schedule import AGAIN, ASKED_BY, FORGOTTEN, Agenda, WatchedTask

LIKELY = 0.6
"""Least chance that a task has ended before a tick polls it. A lower one costs polls, a higher one ticks."""


class TickAgenda(Agenda):
    """The running tasks that a tick found, and their polls. Tasks that it submits or has polled wait for the next.

    While no duration is known, only a few tasks of each group are polled: their answers decide about the others.
    """

    def __init__(self, *, begun: float, asks_all: bool = False) -> None:
        """`begun`: when the tick began; -inf to poll nothing. `asks_all`: polls cost nothing, so poll every task."""
        super().__init__()
        self._begun, self._asks_all = begun, asks_all
        self._denials = 0
        """Tasks that were found running."""

    def still_running(self, task_id: int, at: float) -> None:
        super().still_running(task_id, at)
        self._denials += 1
        if self._denials.bit_count() == 1:  # after 1, 2, 4, 8 … of them, because this plans all others again
            self._plan_all()

    def worth_at(self) -> float:
        """Return when the next tick will probably find a finished task; inf if none is running."""
        return min((self._likely_end(watch) for watch in self._watched.values()), default=inf)

    def _ripe_at(self, watch: WatchedTask, chance: float) -> float:
        if watch.called:
            return watch.not_before
        if watch.seen >= self._begun:
            return inf
        is_known = watch.durations.is_known
        if self._asks_all or (watch.is_scout and not is_known):
            return watch.not_before
        if not is_known and not self._denials:
            return inf
        return max(self._likely_end(watch), watch.not_before)

    def _likely_end(self, watch: WatchedTask) -> float:
        durations, seen = watch.durations, watch.seen - watch.started
        latest = max(seen * AGAIN, min(durations.age_at(0.0, FORGOTTEN), ASKED_BY))
        return watch.started + min(durations.age_at(seen, LIKELY), latest)
