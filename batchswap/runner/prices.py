"""What an attempt may cost, asked once for each class of tasks (EstimateTask is free)."""

import asyncio

from batchswap import wire
from batchswap.errors import Exit
from batchswap.runner.desk import Desk, Stop


class Prices:
    """Credits to reserve for an attempt, by class. What was really charged corrects the estimate upwards."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, group: str, body: wire.CreateTask) -> float:
        """Credits to reserve. Raises RowRefused when the API refuses the inputs, Stopped when the run ends."""
        async with self._asking.setdefault(group, asyncio.Lock()):
            if group not in self._known:
                self._known[group] = await self._ask(body)
        return self._known[group]

    async def _ask(self, body: wire.CreateTask) -> float:
        desk = self._desk
        answer = await desk.ask("estimate", lambda: desk.api.estimate(body))
        found = wire.Estimate.from_json(answer.data if answer else None)
        if found.balance is not None:
            desk.balance = found.balance
            if desk.is_quiet() and not desk.requests["submit"]:
                desk.quiet_balance = found.balance
        if found.estimated_credits is None:
            if desk.settings.budget is not None or desk.settings.budget_per_day is not None:
                desk.stop_submits(Stop(Exit.NO_CREDITS, "the API gives no estimate, so no budget can be kept"))
            return 0.0
        return max(0.0, found.estimated_credits)

    def learn(self, group: str, charged: float | None) -> None:
        """A task of the class was charged."""
        if charged is not None and charged > self._known.get(group, 0.0):
            self._known[group] = charged
