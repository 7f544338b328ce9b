"""Price estimates (EstimateTask is free), one for each class of tasks or for each target."""

from math import inf

import msgspec

from batchswap import wire
from batchswap.errors import Exit
from batchswap.events import LogEvent
from batchswap.ledger import queries
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.free_calls import ask, ask_once
from batchswap.runner.prepare.steps import FreeCallFailed
from batchswap.runner.stop_reasons import Stop, Stopped
from batchswap.runner.submit.price_trials import Trials
from batchswap.runner.sync.waits import Locks
from batchswap.runner.task_context import Job, Ready, TaskClass, class_of
from batchswap.tasks import Model

ASK_AGAIN = 600.0
"""Seconds until the next estimate after the API gave none, if there is no budget."""

REMEMBERED = 10_000
"""Most prices to keep."""


class Known(msgspec.Struct, frozen=True):
    """The price of a task of a class, the length of its video if known, and when the price expires (`until`)."""

    credits: float
    seconds: float | None = None
    until: float = inf

    def of(self, seconds: float | None) -> float:
        """Return the credits for another task of the class. A longer video costs proportionally more."""
        if not seconds or not self.seconds:
            return self.credits
        return self.credits * max(1.0, seconds / self.seconds)


class Lesson(msgspec.Struct, frozen=True):
    """By how much charges exceed estimates: a factor, or an amount for estimates of zero."""

    factor: float = 1.0
    least: float = 0.0

    def of(self, estimate: float) -> float:
        """Return the credits to reserve for an estimate."""
        return estimate * self.factor if estimate else self.least

    def learned(self, estimate: float, charged: float) -> "Lesson":
        """Return the lesson after another charge."""
        if estimate:
            return Lesson(max(self.factor, charged / estimate), self.least)
        return Lesson(self.factor, max(self.least, charged))


class CostEstimates:
    """Credits to reserve for attempts. Actual charges correct the estimates upwards.

    Tasks of a class share one price. With a budget, each target of unknown length has its own.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._known: dict[str, Known] = {}
        self._asking = Locks()
        self._lessons: dict[TaskClass, Lesson] = {}
        self.trials = Trials(run)
        self._has_asked_balance = False

    async def of(self, seconds: float | None, body: wire.CreateTask) -> float:
        """Return the estimated credits. Raise RowRefused, FreeCallFailed, or Stopped if submitting has stopped."""
        run, name = self._run, self._name(seconds, body)
        async with self._asking.hold(name):
            known = self._known.get(name)
            if known is None or known.until <= run.clock.monotonic():
                if run.state.submit_stop is not None:
                    raise Stopped  # the price is no longer needed
                known = await self._ask(body, seconds)
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[name] = known
        return known.of(seconds)

    def _name(self, seconds: float | None, body: wire.CreateTask) -> str:
        """Return the name under which tasks share a price."""
        model = Model(body.model)
        group = class_of(model, seconds)
        is_shared = group.step or not self._run.settings.has_budget
        return group.group if is_shared else f"{model} {body.input[model.target_field]}"

    async def _ask(self, body: wire.CreateTask, seconds: float | None) -> Known:
        """Request an estimate. Without one, use zero for a while, but with a budget fail the row or stop submitting."""
        run, is_needed = self._run, self._run.settings.has_budget
        try:
            answer = await ask(run, "estimate", lambda: run.api.estimate(body))
        except FreeCallFailed:
            if is_needed:
                raise
            answer = None
        found = wire.Estimate.from_json(answer.data if answer else None)
        await self._note_balance(found.balance)
        if found.estimated_credits is not None:
            return Known(found.estimated_credits, seconds)
        if is_needed:
            run.state.stop_submits(Stop(Exit.NO_CREDITS, "the API gives no estimate, so the budget cannot be kept"))
            raise Stopped
        return Known(0.0, seconds, run.clock.monotonic() + ASK_AGAIN)

    async def _note_balance(self, balance: float | None) -> None:
        """Keep the balance before the first submit as evidence. Request it once if no estimate contains it."""
        run = self._run
        if balance is None and run.evidence.latest is None and not self._has_asked_balance:
            self._has_asked_balance = True
            answer = await ask_once(run, "balance", run.api.balance)
            balance = wire.Balance.from_json(answer.data if answer else None).balance
        if balance is not None:
            run.evidence.note(balance, is_quiet=run.is_quiet and not run.traffic.requests["submit"])

    def recall(self) -> None:
        """Learn from the charges of earlier runs."""
        run = self._run
        self.trials.recall()
        for past in queries.charges(run.ledger.db, run.account.name):
            group = class_of(past.model, past.seconds)
            self._lessons[group] = self._lesson(group).learned(past.estimate, past.charged)
            if past.is_done:
                self.trials.know(group)

    def learn(self, job: Job, charged: float | None, *, is_done: bool) -> bool:
        """Learn from an ended task. Return whether its class now reserves more."""
        group = class_of(job.task.model, job.seconds)
        before = self._lesson(group)
        if charged is not None:
            self._lessons[group] = before.learned(job.attempt.expected, charged)
        if (is_done or charged) and self.trials.know(group) and charged is None:
            words = f"the API does not report the price of a task ({group}): the budget counts the estimate"
            self._run.report(LogEvent.COST_UNKNOWN, words)
        return self._lesson(group) != before

    def expected(self, model: Model, seconds: float | None, estimate: float) -> float:
        """Return the credits to reserve for an estimate, corrected by the charges of its class."""
        return self._lesson(class_of(model, seconds)).of(estimate)

    def of_ready(self, ready: Ready) -> float:
        """Return the credits to reserve for a prepared task, with all charges known by now."""
        return self.expected(Model(ready.body.model), ready.seconds, ready.price)

    def _lesson(self, group: TaskClass) -> Lesson:
        return self._lessons.get(group, Lesson())
