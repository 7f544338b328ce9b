"""One run from its lock to its exit code: enrol, recover, work off, conclude."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, closing, nullcontext

import msgspec

from batchswap import verdicts, wire
from batchswap.callbacks import Receiver, callback_url
from batchswap.client import Client
from batchswap.clock import Clock, SystemClock
from batchswap.downloads import Downloader, is_on_private_address
from batchswap.errors import MaybeSent, NeverSent
from batchswap.ledger import files, history, moves, queries, runs
from batchswap.ledger.moves import Stamp
from batchswap.ledger.queries import Selection
from batchswap.ledger.window import NoWindow, Window, fingerprint, state_folder
from batchswap.ledger.writer import Writer
from batchswap.pacing import Rate
from batchswap.runner import signals
from batchswap.runner.balance import note_evidence
from batchswap.runner.beside import Calls, Watch, accompany, flush, watched
from batchswap.runner.desk import Desk
from batchswap.runner.jobs import Job, class_of
from batchswap.runner.loop import Loop
from batchswap.runner.measuring import seconds_of
from batchswap.runner.ports import Api, Pacer, Store
from batchswap.runner.results import Results
from batchswap.runner.summary import KINDS, Summary, conclude
from batchswap.settings import Settings
from batchswap.states import State
from batchswap.verdicts import Kind


class Account(msgspec.Struct, frozen=True):
    """Who asks. `name` is what attempts and uploads belong to: a base URL, or "local". `is_idempotent`: the provider
    honours Idempotency-Key, so that an uncertain attempt is settled by sending it again."""

    name: str
    base_url: str
    key: str
    is_idempotent: bool = False

    @property
    def owner(self) -> str:
        """What uploads and detections belong to: one key, where a key is an account; the local server's changes."""
        return self.name if self.name != self.base_url else fingerprint(self.key, self.name)


async def work_off(
    settings: Settings, account: Account, *, say: Callable[[str], None], watch: Watch, clock: Clock | None = None
) -> Summary:
    """Work off the batches of `settings`, which are enrolled, and collect what earlier runs left.

    The caller holds the ledger's lock. Raises LedgerError; everything else is in the summary.
    """
    clock = clock or SystemClock()
    with (
        closing(files.connect(settings.db, write=True)) as writing,
        closing(files.connect(settings.db, write=False)) as reading,
    ):
        stamp = runs.begin(writing, clock.now(), provider=settings.provider, account=account.owner)
        if is_finished(reading, settings, account):
            return _conclude(writing, reading, settings, stamp, None, started=clock.now(), clock=clock)
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(Client(account.base_url, account.key, clock))
            private = await is_on_private_address(account.base_url)
            downloader = await stack.enter_async_context(Downloader(allow_private=private))
            pacer = open_pacer(settings, account, clock)
            stack.callback(pacer.close)
            calls = await _receiver(stack, settings, reading)
            return await run(
                settings,
                account,
                api=api,
                pacer=pacer,
                store=Results(settings.out, downloader),
                writing=writing,
                reading=reading,
                stamp=stamp,
                clock=clock,
                say=say,
                watch=watch,
                calls=calls,
            )


async def _receiver(stack: AsyncExitStack, settings: Settings, db: sqlite3.Connection) -> Calls | None:
    if settings.callback_url is None or settings.callback_host is None:
        return None
    secret, base = queries.secret(db), settings.callback_url
    receiver = Receiver(secret, host=settings.callback_host, port=settings.callback_port)
    await stack.enter_async_context(receiver)
    return Calls(lambda ref: callback_url(base, secret, ref), receiver.deliveries)


def open_pacer(settings: Settings, account: Account, clock: Clock) -> Window | NoWindow:
    """The key's window, which everything that asks this account's API goes through. The caller closes it."""
    if settings.rate_limit is None:
        return NoWindow(clock)
    path = state_folder() / f"window-{fingerprint(account.key, account.base_url)}.db"
    return Window(path, Rate(settings.rate_limit, settings.rate_period), clock)


def _selection(settings: Settings) -> Selection:
    return Selection(settings.batches, settings.filter, settings.tags, settings.limit)


def is_finished(db: sqlite3.Connection, settings: Settings, account: Account) -> bool:
    """Whether there is nothing to do: then not even one request is sent (invariant 8)."""
    open_states = [State.SUBMITTING, State.RUNNING, State.FETCHING]
    if account.is_idempotent:
        open_states.append(State.UNCERTAIN)
    mine = [found for found in queries.unfinished(db, *open_states) if found.account == account.name]
    return not mine and next(queries.Queue(db, _selection(settings)).pages(), None) is None


async def run(
    settings: Settings,
    account: Account,
    *,
    api: Api,
    pacer: Pacer,
    store: Store,
    writing: sqlite3.Connection,
    reading: sqlite3.Connection,
    stamp: Stamp,
    clock: Clock,
    say: Callable[[str], None],
    watch: Watch,
    calls: Calls | None = None,
    executor: Executor | None = None,
    heed_signals: bool = True,
) -> Summary:
    """The run itself, on whatever stands behind the interfaces."""
    started = clock.monotonic()
    writer = Writer(writing, settings.db, executor)
    desk = Desk(
        settings,
        api=api,
        pacer=pacer,
        store=store,
        writer=writer,
        db=reading,
        clock=clock,
        run_id=stamp.run_id or 0,
        account=account.name,
        owner=account.owner,
        is_idempotent=account.is_idempotent,
        expects_calls=calls is not None,
        say=say,
    )
    loop = Loop(desk, _selection(settings))
    try:
        await writer.do(lambda db: moves.recover(db, desk.stamp()))
        desk.agenda.recall((class_of(past.model, past.seconds).group, past.took) for past in history.took(reading))
        with signals.heeded(desk.end, say) if heed_signals else nullcontext():
            async with watched(desk, watch):
                await loop.work(lambda: _begin(desk, loop, account, calls))
        await _last_balance(desk)
        await flush(desk)
    finally:
        await writer.close()
    return _conclude(writing, reading, settings, stamp, desk, started=started, clock=clock)


def _begin(desk: Desk, loop: Loop, account: Account, calls: Calls | None) -> None:
    """Go on with what the ledger has open at this account. Anything else is named, and waits for its own provider."""
    accompany(desk, loop, calls)
    now, wall = desk.clock.monotonic(), desk.clock.now()
    elsewhere = others = 0
    unexplained = queries.unexplained(desk.db)
    for found in queries.unfinished(desk.db, State.RUNNING, State.FETCHING, State.UNCERTAIN):
        if found.account != account.name:
            elsewhere += 1
            continue
        started = now - max(0.0, wall - (found.attempt.accepted_at or found.attempt.submitted_at))
        is_ours = found.owner == account.owner
        others += not is_ours
        job = Job(found.task, found.attempt, started, seconds=seconds_of(found.task), may_be_lost=is_ours)
        job.patient_since = now - max(0.0, wall - found.since)
        if found.task.state is State.RUNNING:
            # Its callback may have come while nobody listened.
            loop.collecting.watch(job, now=now, due=loop.submitting.callback_url is not None)
        elif found.task.state is State.FETCHING:
            loop.fetch(job, found.media)
        elif account.is_idempotent:
            loop.queue.resend(found.task, found.attempt)
        elif is_ours and unexplained is not None and unexplained[0] == found.attempt.id:
            desk.doubt(found.attempt, unexplained[1])  # the process died before it could look at the balance
    if elsewhere:
        desk.say(f"{elsewhere} unfinished tasks belong to another provider or base URL: they wait for a run with that")
    if others:
        desk.say(f"{others} unfinished tasks were submitted with another key: they are asked for with this one")


async def _last_balance(desk: Desk) -> None:
    """What is left on the account, once, when something was charged. None when the API does not say it at once."""
    if desk.ending is not None or not (desk.requests["submit"] or desk.in_doubt):
        return
    desk.balance = None
    while wait := desk.pacer.claim():
        if wait > desk.settings.rate_period:
            return  # a pause, not a pace
        await desk.clock.sleep(wait)
    desk.count("balance")
    try:
        answer = await desk.api.balance()
    except (NeverSent, MaybeSent):
        return  # the work is done; that the API is gone by now changes nothing
    verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
    if verdict.kind is Kind.OK:
        desk.balance = wire.Balance.from_json(answer.data).balance
        await note_evidence(desk, desk.in_doubt, desk.balance)
    elif verdict.kind is Kind.RATE_LIMITED:
        desk.heard(verdict, answer)


def _conclude(
    writing: sqlite3.Connection,
    reading: sqlite3.Connection,
    settings: Settings,
    stamp: Stamp,
    desk: Desk | None,
    *,
    started: float,
    clock: Clock,
) -> Summary:
    counts = queries.counts_in(reading, settings.batches)
    code, reason = conclude(desk.stops if desk else [], counts)
    money, own = queries.credits_in(reading, settings.batches), queries.credits_of(reading, run_id=stamp.run_id)
    requests = desk.requests if desk else {}
    summary = Summary(
        exit_code=code,
        reason=reason,
        batch=list(settings.batches),
        counts=counts,
        credits={"spent": money.spent, "reserved": money.reserved, "balance": desk.balance if desk else None},
        requests={kind: requests.get(kind, 0) for kind in KINDS},
        seconds=round(clock.monotonic() - started, 1) if desk else 0.0,
        spent_now=own.spent,
    )
    runs.end(
        writing,
        msgspec.structs.replace(stamp, at=clock.now()),
        exit_code=code,
        summary=msgspec.json.encode(summary.to_json()).decode(),
    )
    return summary
