"""One run on an open ledger: recover, work, conclude."""

import asyncio
import logging
import sqlite3
from contextlib import AsyncExitStack, ExitStack, closing, nullcontext
from functools import partial
from math import inf

import msgspec

from batchswap import verdicts, wire
from batchswap.callbacks import Receiver, callback_url
from batchswap.client import Client
from batchswap.clock import Clock, SystemClock
from batchswap.delivery.examiner import open_examiner
from batchswap.delivery.signer import open_signer
from batchswap.downloads import Downloader, is_on_private_address
from batchswap.errors import Exit, MaybeSent, NeverSent, UsageError
from batchswap.events import LogEvent, Report, report
from batchswap.ledger import deliveries, queries, selections, transitions
from batchswap.ledger.budgets import Budget, exceeded, excesses
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.file import connection
from batchswap.ledger.file.location import Location
from batchswap.ledger.group_commit import LedgerWriter
from batchswap.ledger.runs import ticks
from batchswap.ledger.selections import Queue, selection_of
from batchswap.ledger.submission_log import position
from batchswap.ledger.submission_log.log import MISSING, NoLog, SubmissionLog, delete_old
from batchswap.ledger.transitions import Stamp
from batchswap.media_hosts import silence
from batchswap.network import Routes, routes_of
from batchswap.polling import TickAgenda
from batchswap.runner import signals
from batchswap.runner.background import Watch, flush, watched
from batchswap.runner.collect.result_store import Results
from batchswap.runner.collect.reuse import reuse, waiting_words
from batchswap.runner.context.account import Account, open_pacer
from batchswap.runner.context.callback_inbox import CallbackInbox, Calls
from batchswap.runner.context.ledger import RunLedger
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.resume import count_elsewhere, resume
from batchswap.runner.scheduler import Loop
from batchswap.runner.stop_reasons import Stop, conclude, left_words
from batchswap.runner.submit.balance_probe import note_evidence
from batchswap.runner.submit.ledger_guard import LedgerGuard
from batchswap.runner.summary import KINDS, Summary
from batchswap.runner.sync.waits import rest, unless
from batchswap.runner.task_context import class_of
from batchswap.settings import Settings
from batchswap.state_folder import state_folder
from batchswap.states import IN_FLIGHT, OPEN, State
from batchswap.verdicts import Kind

__all__ = ["Account", "open_pacer", "run", "work_off"]

LAST_LOOK = 20.0
"""Seconds to wait for the balance at the end of a run."""


async def work_off(
    settings: Settings,
    account: Account,
    *,
    watch: Watch,
    report: Report = report,
    handle_signals: bool = True,
) -> Summary:
    """Complete the enrolled batches of `settings`, including tasks that earlier runs left open.

    The caller holds the ledger's lock. Raise LedgerError, or UsageError if the address for callbacks cannot be
    used. The summary tells how the run ended.
    """
    clock = SystemClock()
    with (
        closing(connection.connect(settings.db, write=True)) as writing,
        closing(connection.connect(settings.db, write=False)) as reading,
    ):
        stamp = _begin(writing, settings, account, clock.now())
        await _reuse(writing, reading, settings, account, stamp, clock, report)
        if is_finished(reading, settings, account):
            return _conclude(writing, reading, settings, account, stamp, None, seconds=0.0, at=clock.now())
        async with AsyncExitStack() as stack:
            routes = _routes(settings, report)
            api = await stack.enter_async_context(
                Client(account.base_url, account.key, clock, keep_submits=settings.rate_limit is None, routes=routes)
            )
            store = await _open_store(stack, settings, account, routes)
            pacer = open_pacer(settings, account, clock)
            stack.callback(pacer.close)
            log = open_log(settings, account, reading, clock, report)
            stack.callback(log.close)
            inbox = CallbackInbox(await _receiver(stack, settings, reading, report))
            ledger = RunLedger(LedgerWriter(writing, settings.db), reading, settings.db, clock, stamp.run_id or 0, log)
            context = RunContext(
                settings,
                account,
                api=api,
                pacer=pacer,
                store=store,
                ledger=ledger,
                clock=clock,
                report=report,
                inbox=inbox,
            )
            return await run(context, watch, handle_signals=handle_signals)


def _begin(writing: sqlite3.Connection, settings: Settings, account: Account, at: float) -> Stamp:
    return transitions.begin_run(
        writing,
        at,
        provider=settings.provider,
        account=account.owner,
        out=str(settings.out.absolute()),
        budget=Budget(settings.budget, settings.budget_per_day),
        mode=settings.mode,
        batches=settings.batches,
    )


def _routes(settings: Settings, report: Report) -> Routes:
    """Return the way of all requests, and report a proxy."""
    routes = routes_of(settings.proxy)
    if routes.proxies:
        names = " and ".join(each.shown for each in routes.proxies)
        words = f"requests go through {names}; private addresses of media hosts are recognised by name only"
        report(LogEvent.PROXY_USED, words, logging.DEBUG)
    return routes


async def _open_store(stack: AsyncExitStack, settings: Settings, account: Account, routes: Routes) -> Results:
    """Return the results, with the processes that examine and sign them. `stack` closes all of it."""
    private = await is_on_private_address(account.base_url, routes)
    downloader = await stack.enter_async_context(
        Downloader(allow_private=private, routes=routes, stall=silence(settings.patience))
    )
    examiner = open_examiner(settings, allow_private=private)
    if examiner is not None:
        stack.push_async_callback(examiner.close)
    signer = open_signer(settings)
    if signer is not None:
        stack.push_async_callback(signer.close)
    return Results(settings.out, downloader, examiner, signer)


async def _reuse(
    writing: sqlite3.Connection,
    reading: sqlite3.Connection,
    settings: Settings,
    account: Account,
    stamp: Stamp,
    clock: Clock,
    report: Report,
) -> None:
    """Reuse results of other tasks before anything is sent."""
    if not selections.waiting(reading, selection_of(settings)):
        return
    ledger = RunLedger(LedgerWriter(writing, settings.db), reading, settings.db, clock, stamp.run_id or 0)
    try:
        await reuse(ledger, settings, account.name, report)
    finally:
        await ledger.writer.close()


async def _receiver(stack: AsyncExitStack, settings: Settings, db: sqlite3.Connection, report: Report) -> Calls | None:
    if settings.callback_url is None or settings.callback_host is None:
        return None
    if settings.leaves:
        words = "--callback-url is not used: no process listens after this one, so the tasks are polled"
        report(LogEvent.CALLBACKS_MISSING, words)
        return None
    secret, base = queries.secret(db), settings.callback_url
    receiver = Receiver(secret, host=settings.callback_host, port=settings.callback_port)
    await stack.enter_async_context(receiver)
    return Calls(lambda ref: callback_url(base, secret, ref), receiver.deliveries)


def open_log(
    settings: Settings, account: Account, db: sqlite3.Connection, clock: Clock, report: Report
) -> SubmissionLog | NoLog:
    """Return the key's submission log. The local provider has none, because its tasks are free."""
    if account.name != account.base_url:
        return NoLog()
    name, warn = account.owner, partial(report, LogEvent.LOG_UNAVAILABLE, level=logging.WARNING)
    try:
        folder = state_folder()
    except UsageError as error:
        warn(f"there is no submission log ({error}): {MISSING}")
        return NoLog()
    delete_old(folder, name, clock.now())
    mark = position.marks(db).get(name)
    counts = settings.budget_per_day is not None
    return SubmissionLog(folder, name, position.ledger_id(db), clock, warn, mark=mark, counts=counts)


def is_finished(db: sqlite3.Connection, settings: Settings, account: Account) -> bool:
    """Return whether there is nothing to do: then the run sends no request at all (invariant 8).

    A task that was being submitted when a run died must still be recorded as uncertain, for every account.
    """
    found = queries.unfinished(db, *(OPEN if account.is_idempotent else IN_FLIGHT))
    to_do = any(each.account == account.name or each.task.state is State.SUBMITTING for each in found)
    return not to_do and next(Queue(db, selection_of(settings)).pages(), None) is None


async def run(context: RunContext, watch: Watch, *, handle_signals: bool = True) -> Summary:
    """Run the loop and return the summary."""
    settings, ledger, clock = context.settings, context.ledger, context.clock
    started, stamp = clock.monotonic(), ledger.stamp()
    loop = Loop(context, selection_of(settings))
    with ExitStack() as stack:
        ledger.guard = LedgerGuard(
            context, Location(settings.db, ledger.writer.db), stack, loop.collecting.jobs.values
        ).is_well
        try:
            await ledger.write(transitions.recover)
            if settings.leaves:
                await ledger.do(ticks.forget_ended)
                last = ticks.last_ending(ledger.db, settings.batches, ledger.run_id)
                context.state.recall(ticks.refusals(ledger.db, ledger.run_id), last)
            context.agenda.recall(
                (class_of(past.model, past.seconds).group, past.took) for past in queries.took(ledger.db)
            )
            loop.prices.recall()
            with signals.handled(context.state.stop_run, context.report) if handle_signals else nullcontext():
                async with watched(context, watch):
                    await loop.work(partial(resume, context, loop))
                await _last_balance(context)
            await flush(context)
            if settings.leaves:
                await ledger.do(ticks.note_refusals, ledger.run_id, context.state.refusals)
            await context.ledger.is_well()
        finally:
            await loop.submitting.record_rest()
            await ledger.writer.close()
        seconds = round(clock.monotonic() - started, 1)
        return _conclude(
            ledger.writer.db, ledger.db, settings, context.account, stamp, context, seconds=seconds, at=clock.now()
        )


async def _last_balance(context: RunContext) -> None:
    """Read the balance once more if the run may have been charged. It stays None if the API does not answer soon.

    A signal during this call ends only the call: the run is still recorded and reported.
    """
    if context.state.run_stop is not None or not (
        context.traffic.requests["submit"] or context.evidence.unclear_submits
    ):
        return
    context.evidence.note(None)
    while wait := context.pacer.claim():
        if wait > context.settings.rate_period or not await rest(wait, context.state.over):
            return  # the API requested a long pause
    try:
        async with asyncio.timeout(min(context.settings.patience, LAST_LOOK)):
            with context.calling("balance"):
                answer = await unless(context.state.over, context.api.balance())
    except (NeverSent, MaybeSent, TimeoutError):
        return  # all work is done, so a missing balance is no failure
    if answer is None:
        return
    verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
    if verdict.kind is Kind.RATE_LIMITED:
        context.on_answer("balance", verdict, answer)
        return
    context.note_answer("balance", verdict, answer)
    if verdict.kind is Kind.OK:
        context.evidence.note(wire.Balance.from_json(answer.data).balance)
        await note_evidence(context, context.evidence.unclear_submits, context.evidence.latest)


def _next_tick(context: RunContext | None, at: float) -> float | None:
    """Return the Unix time from which the next tick will probably find a finished task; None if it is unknown."""
    if context is None or not isinstance(context.agenda, TickAgenda):
        return None
    in_seconds = context.agenda.worth_at() - context.clock.monotonic()
    return round(at + max(in_seconds, 0.0), 1) if in_seconds < inf else None


def _conclude(
    writing: sqlite3.Connection,
    reading: sqlite3.Connection,
    settings: Settings,
    account: Account,
    stamp: Stamp,
    context: RunContext | None,
    *,
    seconds: float,
    at: float,
) -> Summary:
    counts = queries.counts_in(reading, settings.batches)
    elsewhere = count_elsewhere(reading, account.name, settings.batches)
    finished = is_finished(reading, settings, account)
    gone = orphans.find(reading, settings.batches)
    waits = waiting_words(reading, settings)
    stops = context.state.stops if context else []
    is_left = settings.leaves and not finished
    if is_left:
        stops = [*stops, Stop(Exit.DEADLINE, left_words(context.health.trouble if context else ""))]
    over = exceeded(excesses(reading, run_id=stamp.run_id))
    doubtful = deliveries.count_doubtful(reading, settings.batches) if settings.require_swap else 0
    code, reason = conclude(
        stops,
        gone.without(counts),
        elsewhere,
        waits,
        is_finished=finished,
        exceeded=over,
        doubtful=doubtful,
        is_part=settings.mode != "run",
    )
    money, own = queries.credits_in(reading, settings.batches), queries.credits_of(reading, run_id=stamp.run_id)
    requests = context.traffic.requests if context else {}
    summary = Summary(
        exit_code=code,
        reason=reason,
        batch=list(settings.batches),
        counts=counts,
        credits={
            "spent": money.spent,
            "reserved": money.reserved,
            "balance": context.evidence.latest if context else None,
            "exceeded": over,
        },
        requests={kind: requests.get(kind, 0) for kind in KINDS},
        seconds=seconds,
        spent_now=own.spent,
        unpriced_attempts=money.unpriced,
        is_finished=finished,
        next_tick_at=_next_tick(context, at) if is_left else None,
        needs_you=deliveries.needing(reading, settings.batches, counts),
        quality=deliveries.qualities(reading, settings.batches, done=counts[State.DONE]),
        signed=deliveries.count_signed(reading, settings.batches),
        orphans=gone,
        ledger=str(context.ledger.path if context else settings.db),
    )
    document = msgspec.json.encode(summary.to_json()).decode()
    transitions.end_run(writing, msgspec.structs.replace(stamp, at=at), exit_code=code, summary=document)
    return summary
