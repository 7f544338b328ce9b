"""What goes on beside the loop: the display, the callbacks, the record of the traffic."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

import msgspec

from batchswap.ledger import queries, selections, traffic
from batchswap.ledger.submission_log import position
from batchswap.runner.collect import storage_trouble
from batchswap.runner.context.callback_inbox import Calls
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.scheduler import Loop
from batchswap.states import State

FLUSH_EVERY = 5.0
"""Seconds between two writes of what was sent when."""


class RunView(msgspec.Struct, frozen=True):
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


Watch = Callable[[Callable[[], RunView]], Awaitable[None]]
"""Shows views until it is cancelled."""


@asynccontextmanager
async def watched(run: RunContext, watch: Watch) -> AsyncIterator[None]:
    """The display. What goes wrong with it is not the run's affair."""

    @cache
    def left_out() -> int:  # nothing but a run moves them, and this one does not
        return selections.left_out(run.ledger.db, selections.selection_of(run.settings))

    display = asyncio.ensure_future(watch(lambda: look(run, left_out())))
    try:
        yield
    finally:
        display.cancel()
        await asyncio.gather(display, return_exceptions=True)


def accompany(run: RunContext, loop: Loop) -> None:
    """Callbacks and the record of the traffic, as long as the loop works. When the ledger fails them, the run ends."""
    loop.spawn(storage_trouble.try_out(run))
    loop.spawn(_keep_flushing(run))
    if run.inbox.calls is not None:
        loop.spawn(_deliver(run.inbox.calls, loop))


async def _deliver(calls: Calls, loop: Loop) -> None:
    while True:
        delivery = await calls.deliveries.get()
        loop.apply(await loop.collecting.called_back(delivery.ref, delivery.info))
        delivery.recorded.set()
        calls.deliveries.task_done()


async def _keep_flushing(run: RunContext) -> None:
    while True:
        await run.clock.sleep(FLUSH_EVERY)
        await run.ledger.is_well()
        await flush(run)


async def flush(run: RunContext) -> None:
    if counted := run.traffic.take():
        await run.ledger.do(traffic.add, run.ledger.run_id, counted)
    if (place := run.ledger.log.place()) is not None:
        run.ledger.log.marked(place, await run.ledger.do(position.advance, place))


def look(run: RunContext, left_out: int) -> RunView:
    """Return the run at this moment. `left_out` counts queued tasks that are not selected.

    While no budget is left, and when submitting has stopped, all that are queued are left out.
    """
    counts = queries.counts_in(run.ledger.db, run.settings.batches)
    money = queries.credits_in(run.ledger.db, run.settings.batches)
    others = counts[State.QUEUED] if run.state.submit_stop is not None or run.state.is_short else left_out
    limit, trouble = run.pacer.limit(), run.health.trouble or run.state.media_trouble
    return RunView(
        counts=counts,
        spent=money.spent,
        reserved=money.reserved,
        requests=run.traffic.requests.total() - run.traffic.requests["refused_429"],
        pace="" if limit is None else f"{limit}/{run.settings.rate_period:g}s",
        queued=counts[State.QUEUED] - others,
        left_out=others,
        waiting=f"waiting: {trouble}" if trouble else "",
    )
