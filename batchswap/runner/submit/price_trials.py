"""With a budget, limit the tasks of a price class in flight until one actual price is known."""

from math import floor, inf

import msgspec

from batchswap.ledger.budgets import Budget, local_day
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.task_context import Job, Ready, TaskClass, class_of
from batchswap.tasks import Model

MOST = 4
"""Most tasks of a price class in flight while no actual price is known."""
TIMES = 10.0
"""Largest assumed ratio of an actual price to its estimate."""
DIGITS = 6
"""Decimal places of quotients, so that rounding errors do not count."""


class Out(msgspec.Struct):
    """A task of unknown price in flight."""

    group: TaskClass
    estimate: float
    is_ours: bool
    """Whether it counts against the budget of this run: false if an earlier run of another series submitted it."""
    is_reserved: bool
    """Whether the ledger counts its estimate already."""

    @property
    def more(self) -> float:
        """Credits that it may cost beyond those that the ledger counts."""
        return self.estimate * (TIMES - self.is_reserved)


class Trials:
    """The tasks of unknown price in flight."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._budget = Budget(run.settings.budget, run.settings.budget_per_day)
        self._known: set[TaskClass] = set()
        self._out: dict[int, Out] = {}
        self._short_at = inf
        """The credits left when the budget was too small for a task."""

    def may_go(self, ready: Ready, price: float) -> bool:
        """Return whether the task may be submitted now. `price` is its reservation.

        A task of known price must leave enough credits for the tasks of unknown price.
        """
        group = _class_of(ready)
        if ready.again is not None:
            return True
        if not self._is_tried(group):
            return not self._out or self._left(group) >= price
        is_first = not any(each.is_ours for each in self._out.values())
        mine = sum(each.group == group for each in self._out.values())
        return is_first or mine < allowed(ready.price, self._left(group), is_first=is_first)

    def _is_tried(self, group: TaskClass) -> bool:
        return self._run.settings.has_budget and group not in self._known

    def _left(self, group: TaskClass) -> float:
        """Return the credits that the class may use, from the budget with less left."""
        left = inf
        run_left, day_left = self._credits()
        for credits_, is_ours_alone in ((run_left, True), (day_left, False)):
            counted = [each for each in self._out.values() if each.is_ours or not is_ours_alone]
            own = sum(each.estimate for each in counted if each.group == group and each.is_reserved)
            others = sum(each.more for each in counted if each.group != group)
            left = min(left, credits_ + own - others)
        return left

    def _credits(self) -> tuple[float, float]:
        run = self._run
        return self._budget.left(run.ledger.db, run.ledger.run_id, local_day(run.clock.now()))

    def fall_short(self) -> None:
        """Hold submits until the budget has more credits, because each try takes a place in the window."""
        self._short_at = min(self._credits())
        self._run.state.note_short(is_short=True)

    def recall(self) -> None:
        """Hold submits at once if earlier ticks have used up the budget."""
        if self._run.settings.leaves and min(self._credits()) <= 0.0:
            self.fall_short()

    def begin(self, ready: Ready) -> None:
        """Note that the task is being submitted."""
        if self._is_tried(group := _class_of(ready)):
            self._out[ready.task.id] = Out(group, ready.price, is_ours=True, is_reserved=False)

    def watch(self, job: Job) -> None:
        """Note that the task runs at the API."""
        group = class_of(job.task.model, job.seconds)
        if not self._is_tried(group):
            return
        is_ours = job.is_in_series or job.task.id in self._out
        self._out[job.task.id] = Out(group, job.attempt.expected, is_ours=is_ours, is_reserved=True)

    def end(self, task_id: int) -> None:
        """Note that the task has ended. It may have cost less than its reservation."""
        self._out.pop(task_id, None)
        if self._run.state.is_short and min(self._credits()) > self._short_at:
            self._run.state.note_short(is_short=False)

    def know(self, group: TaskClass) -> bool:
        """Note that the price of the class is known, or never will be. Return whether this is new."""
        if not self._is_tried(group):
            return False
        self._known.add(group)
        self._out = {task_id: each for task_id, each in self._out.items() if each.group != group}
        return True


def _class_of(ready: Ready) -> TaskClass:
    return class_of(Model(ready.body.model), ready.seconds)


def allowed(estimate: float, left: float, *, is_first: bool) -> int:
    """Return how many tasks of a price class may be in flight before one actual price is known.

    `left` are the credits left after TIMES the estimates of other tasks of unknown price. If `is_first`, no task of
    unknown price is in flight, and one is always allowed if the budget covers its estimate.
    """
    borne = floor(round(min(max(left, 0.0) / (TIMES * estimate), MOST), DIGITS)) if estimate > 0.0 else 1
    return max(borne, int(is_first))
