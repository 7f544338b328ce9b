"""With a budget, few tasks of a price class go out until one real price of it is known."""

from math import floor, inf

import msgspec

from batchswap.ledger.budgets import Budget, local_day
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.task_context import Job, Ready, TaskClass, class_of
from batchswap.tasks import Model

MOST = 4
"""Tasks of one price class that are out while no real price of it is known."""
TIMES = 10.0
"""By how much a real price is believed to exceed its estimate, at most."""
DIGITS = 6
"""Decimal places of quotients that count; what is smaller is rounding alone."""


class Out(msgspec.Struct):
    """A task of an unknown price that is on its way, or at work."""

    group: TaskClass
    estimate: float
    is_ours: bool
    """Off: an earlier run submitted it."""
    is_reserved: bool
    """Whether the ledger is known to count it."""

    @property
    def more(self) -> float:
        """Credits that it may cost beyond what the ledger counts."""
        return self.estimate * (TIMES - self.is_reserved)


class Trials:
    """What is out without a known price."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._budget = Budget(run.settings.budget, run.settings.budget_per_day)
        self._known: set[TaskClass] = set()
        self._out: dict[int, Out] = {}
        self._short_at = inf
        """Credits that were left when the budget had too few for a task."""

    def may_go(self, ready: Ready, price: float) -> bool:
        """Whether the task may be submitted now. `price`: what it would reserve.

        Where its price is known, it leaves to those that are out what they may cost.
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
        """Credits that the class may take, of the budget that has less."""
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
        """Hold submits back until the budget has more credits: each try would take a place in the window."""
        self._short_at = min(self._credits())
        self._run.state.note_short(is_short=True)

    def begin(self, ready: Ready) -> None:
        """The task is being submitted."""
        if self._is_tried(group := _class_of(ready)):
            self._out[ready.task.id] = Out(group, ready.price, is_ours=True, is_reserved=False)

    def watch(self, job: Job) -> None:
        """The task is at work."""
        group = class_of(job.task.model, job.seconds)
        if not self._is_tried(group):
            return
        is_ours = job.task.id in self._out
        self._out[job.task.id] = Out(group, job.attempt.expected, is_ours=is_ours, is_reserved=True)

    def end(self, task_id: int) -> None:
        """Note that the task is not out any longer. It may have cost less than it reserved."""
        self._out.pop(task_id, None)
        if self._run.state.is_short and min(self._credits()) > self._short_at:
            self._run.state.note_short(is_short=False)

    def know(self, group: TaskClass) -> bool:
        """What a task of the class costs is known, or will not be. Whether that is news."""
        if not self._is_tried(group):
            return False
        self._known.add(group)
        self._out = {task_id: each for task_id, each in self._out.items() if each.group != group}
        return True


def _class_of(ready: Ready) -> TaskClass:
    return class_of(Model(ready.body.model), ready.seconds)


def allowed(estimate: float, left: float, *, is_first: bool) -> int:
    """Tasks of a price class that may be out before one real price of it is known.

    `left`: credits of the budget that nothing else may take, at ten times its estimate where its price is unknown.
    `is_first`: no task of an unknown price is out; one may always go, if the budget has its estimate.
    """
    borne = floor(round(min(max(left, 0.0) / (TIMES * estimate), MOST), DIGITS)) if estimate > 0.0 else 1
    return max(borne, int(is_first))
