"""Work next to the loop: the display, the callbacks, the record of the traffic."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

import msgspec

from batchswap.ledger import queries, selections
from batchswap.ledger.runs import traffic
from batchswap.ledger.submission_log import position
from batchswap.runner.collect import storage_trouble
from batchswap.runner.context.callback_inbox import Calls
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.scheduler import AWAY, Loop
from batchswap.states import State

FLUSH_EVERY = 5.0
"""Seconds between two records of the traffic."""


class RunView(msgspec.Struct, frozen=True):
    """A snapshot of a run, for the display."""

    counts: dict[str, int]
    spent: float
    reserved: float
    requests: int
    pace: str
    queued: int
    """Tasks that this run will submit."""
    left_out: int = 0
    """Queued tasks that this run will not submit."""
    waiting: str = ""
    """The reason for waiting."""


Watch = Callable[[Callable[[], RunView]], Awaitable[None]]
"""Show views until cancelled."""


def together(*watches: Watch) -> Watch:
    """Return a watch that runs all of these. One that fails does not end the others."""

    async def watch(look: Callable[[], RunView]) -> None:
        await asyncio.gather(*(each(look) for each in watches), return_exceptions=True)

    return watch


@asynccontextmanager
async def watched(run: RunContext, watch: Watch) -> AsyncIterator[None]:
    """Keep the display up to date. An error in the display does not stop the run."""

    @cache
    def left_out() -> int:  # constant: only a run moves these tasks, and this run does not select them
        return selections.left_out(run.ledger.db, selections.selection_of(run.settings))

    display = asyncio.ensure_future(watch(lambda: view_of(run, left_out())))
    try:
        yield
    finally:
        display.cancel()
        await asyncio.gather(display, return_exceptions=True)


def accompany(run: RunContext, loop: Loop) -> None:
    """Start the work that accompanies the loop. A ledger error in it ends the run."""
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
        due = run.clock.monotonic() + FLUSH_EVERY
        await run.clock.sleep(FLUSH_EVERY)
        if run.clock.monotonic() - due > AWAY:
            run.state.wake()  # timers stop while the machine sleeps, and polls are due
        await run.ledger.is_well()
        await flush(run)


async def flush(run: RunContext) -> None:
    if counted := run.traffic.take():
        await run.ledger.do(traffic.add, run.ledger.run_id, counted)
    if totals := run.traffic.take_totals(run.health.patience.waited(run.clock.monotonic())):
        await run.ledger.do(traffic.add_totals, totals)
    if (place := run.ledger.log.place()) is not None:
        run.ledger.log.marked(place, await run.ledger.do(position.advance, place))


def _delivery_words(count: int) -> str:
    return f"delivering {count:,} result{'' if count == 1 else 's'}" if count else ""


def view_of(run: RunContext, left_out: int) -> RunView:
    """Return a view of the run. `left_out` counts the queued tasks that are not selected.

    When the budget is used up or submitting has stopped, all queued tasks count as left out.
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
        waiting=f"waiting: {trouble}" if trouble else _delivery_words(run.state.delivering),
    )
