"""What goes on beside the loop: the display, the callbacks, the record of the traffic."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

import msgspec

from batchswap.ledger import queries, selections, traffic
from batchswap.ledger.submission_log import position
from batchswap.runner.callback_inbox import Calls
from batchswap.runner.context import Desk
from batchswap.runner.scheduler import Loop
from batchswap.states import State

FLUSH_EVERY = 5.0
"""Seconds between two writes of what was sent when."""


class View(msgspec.Struct, frozen=True):
    """A run at one moment, for a display."""

    counts: dict[str, int]
    spent: float
    reserved: float
    requests: int
    pace: str
    queued: int
    """Tasks that this run will submit."""
    left_out: int = 0
    """Tasks that are queued, too, and that it will not submit."""
    waiting: str = ""
    """For what, in words."""


Watch = Callable[[Callable[[], View]], Awaitable[None]]
"""Shows views until it is cancelled."""


@asynccontextmanager
async def watched(desk: Desk, watch: Watch) -> AsyncIterator[None]:
    """The display. What goes wrong with it is not the run's affair."""

    @cache
    def left_out() -> int:  # nothing but a run moves them, and this one does not
        return selections.left_out(desk.ledger.db, selections.selection_of(desk.settings))

    display = asyncio.ensure_future(watch(lambda: look(desk, left_out())))
    try:
        yield
    finally:
        display.cancel()
        await asyncio.gather(display, return_exceptions=True)


def accompany(desk: Desk, loop: Loop) -> None:
    """Callbacks and the record of the traffic, as long as the loop works. When the ledger fails them, the run ends."""
    loop.spawn(_keep_flushing(desk))
    if desk.inbox.calls is not None:
        loop.spawn(_deliver(desk.inbox.calls, loop))


async def _deliver(calls: Calls, loop: Loop) -> None:
    while True:
        delivery = await calls.deliveries.get()
        loop.apply(await loop.collecting.called_back(delivery.ref, delivery.info))
        delivery.recorded.set()
        calls.deliveries.task_done()


async def _keep_flushing(desk: Desk) -> None:
    while True:
        await desk.clock.sleep(FLUSH_EVERY)
        await desk.is_ledger_well()
        await flush(desk)


async def flush(desk: Desk) -> None:
    counted, run_id = dict(desk.traffic), desk.ledger.run_id
    desk.traffic.clear()
    if counted:
        await desk.ledger.do(traffic.add, run_id, counted)
    if (place := desk.log.place()) is not None:
        desk.log.marked(place, await desk.ledger.do(position.advance, place))


def look(desk: Desk, left_out: int) -> View:
    """The run at this moment. `left_out`: queued tasks that are not selected; when submitting has stopped, all are."""
    counts = queries.counts_in(desk.ledger.db, desk.settings.batches)
    money = queries.credits_in(desk.ledger.db, desk.settings.batches)
    others = left_out if desk.no_submits is None else counts[State.QUEUED]
    limit = desk.pacer.limit()
    return View(
        counts=counts,
        spent=money.spent,
        reserved=money.reserved,
        requests=desk.requests.total() - desk.requests["refused_429"],
        pace="" if limit is None else f"{limit}/{desk.settings.rate_period:g}s",
        queued=counts[State.QUEUED] - others,
        left_out=others,
        waiting=desk.trouble,
    )
