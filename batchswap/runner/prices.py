"""What an attempt may cost, asked once for each class of tasks (EstimateTask is free)."""

import asyncio
from math import inf

import msgspec

from batchswap import wire
from batchswap.errors import Exit
from batchswap.runner.asking import ask, ask_once
from batchswap.runner.desk import Desk
from batchswap.runner.jobs import Ready, TaskClass, class_of
from batchswap.runner.steps import Unserved
from batchswap.runner.stops import Stop, Stopped
from batchswap.tasks import Model

ASK_AGAIN = 600.0
"""Seconds after which a price that the API did not tell is asked for again, while no budget needs it."""


class Known(msgspec.Struct, frozen=True):
    """What one task of a class costs, and how long its video is (None: unknown). `until`: when to ask anew."""

    credits: float
    seconds: float | None = None
    until: float = inf

    def of(self, seconds: float | None) -> float:
        """Credits for another one of the class: a longer video in proportion, a shorter one the same."""
        if not seconds or not self.seconds:
            return self.credits
        return self.credits * max(1.0, seconds / self.seconds)


class Prices:
    """Credits to reserve for an attempt. What was really charged corrects the estimate upwards."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[TaskClass, Known] = {}
        self._asking: dict[TaskClass, asyncio.Lock] = {}
        self._has_asked = False
        """For the balance."""

    async def of(self, seconds: float | None, body: wire.CreateTask) -> float:
        """Credits to reserve. Raises RowRefused, Unserved, Stopped when nothing will be submitted."""
        desk, group = self._desk, class_of(Model(body.model), seconds)
        async with self._asking.setdefault(group, asyncio.Lock()):
            if group not in self._known or self._known[group].until <= desk.clock.monotonic():
                if desk.no_submits is not None:
                    raise Stopped  # nobody needs the price any longer
                self._known[group] = await self._ask(body, seconds)
        return self._known[group].of(seconds)

    async def _ask(self, body: wire.CreateTask, seconds: float | None) -> Known:
        """A price that was told, or none for a while. A budget that cannot be kept stops the run, or fails the row."""
        desk, settings = self._desk, self._desk.settings
        is_needed = settings.budget is not None or settings.budget_per_day is not None
        try:
            answer = await ask(desk, "estimate", lambda: desk.api.estimate(body))
        except Unserved:
            if is_needed:
                raise
            answer = None
        found = wire.Estimate.from_json(answer.data if answer else None)
        await self._note_balance(found.balance)
        if found.estimated_credits is not None:
            return Known(max(0.0, found.estimated_credits), seconds)
        if is_needed:
            desk.stop_submits(Stop(Exit.NO_CREDITS, "the API gives no estimate, so no budget can be kept"))
            raise Stopped
        return Known(0.0, seconds, desk.clock.monotonic() + ASK_AGAIN)

    async def _note_balance(self, balance: float | None) -> None:
        """What is on the account before the first submit, as evidence. Asked for once, if no estimate says it."""
        desk = self._desk
        if balance is None and desk.balance is None and not self._has_asked:
            self._has_asked = True
            answer = await ask_once(desk, "balance", desk.api.balance)
            balance = wire.Balance.from_json(answer.data if answer else None).balance
        if balance is not None:
            desk.balance = balance
            if desk.is_quiet() and not desk.requests["submit"]:
                desk.quiet_balance = balance

    def learn(self, model: Model, seconds: float | None, charged: float | None) -> None:
        """A task was charged."""
        group = class_of(model, seconds)
        if charged is not None and charged > self._known.get(group, Known(0.0)).of(seconds):
            self._known[group] = Known(charged, seconds)

    def of_ready(self, ready: Ready) -> float:
        """Credits to reserve for a task that was priced when it was made ready: perhaps more is known by now."""
        known = self._known.get(class_of(Model(ready.body.model), ready.seconds))
        return ready.price if known is None else max(ready.price, known.of(ready.seconds))
