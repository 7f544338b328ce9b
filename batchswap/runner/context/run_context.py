"""The objects that the loop and its steps share. The attributes are never reassigned."""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Final, TypeVar

from batchswap import verdicts
from batchswap.client import Answer
from batchswap.clock import Clock
from batchswap.errors import MaybeSent, NeverSent
from batchswap.events import Report
from batchswap.polling import Agenda, TickAgenda
from batchswap.runner.context.account import Account
from batchswap.runner.context.api_health import Advice, ApiHealth
from batchswap.runner.context.balance_evidence import BalanceEvidence
from batchswap.runner.context.callback_inbox import CallbackInbox
from batchswap.runner.context.ledger import RunLedger
from batchswap.runner.context.run_state import RunState, Traffic
from batchswap.runner.interfaces import Api, Pacer, ResultStore
from batchswap.settings import Settings
from batchswap.verdicts import Kind, Verdict

T = TypeVar("T")


class RunContext:
    """Shared by the loop and its steps, all on one event loop. Times are the clock's monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        account: Account,
        *,
        api: Api,
        pacer: Pacer,
        store: ResultStore,
        ledger: RunLedger,
        clock: Clock,
        report: Report,
        inbox: CallbackInbox,
    ) -> None:
        self.settings: Final = settings
        self.account: Final = account
        self.api: Final = api
        self.pacer: Final = pacer
        self.store: Final = store
        self.ledger: Final = ledger
        self.clock: Final = clock
        self.report: Final = report
        self.inbox: Final = inbox
        self.state: Final = RunState(report)
        space = settings.rate_period / settings.rate_limit if settings.rate_limit else 1.0
        self.health: Final = ApiHealth(settings.patience, settings.retries, space)
        self.agenda: Final = _agenda(settings, clock.monotonic(), expects_calls=inbox.calls is not None)
        self.evidence: Final = BalanceEvidence()
        self.traffic: Final = Traffic(clock)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is in flight except at most one submit."""
        return self.evidence.submits <= 1 and not len(self.agenda)

    def backoff(self, tries: int) -> float:
        return verdicts.backoff(tries, random.random())

    @contextmanager
    def calling(self, kind: str) -> Iterator[None]:
        """Count a request and track its answer within the context."""
        self.traffic.count(kind)
        patience = self.health.patience
        is_tried = patience.ends_at() < inf
        began, outcome = self.clock.monotonic(), "cancelled"
        call, answered = patience.begin(began), True
        if not is_tried:
            self.state.wake()  # the loop must now consider the end of patience
        try:
            yield
            outcome = ""
        except (NeverSent, MaybeSent) as error:
            answered, outcome = False, "not_sent" if isinstance(error, NeverSent) else "no_answer"
            raise
        finally:
            patience.end(call, answered=answered)
            if outcome:
                self.traffic.ended(kind, outcome, self.clock.monotonic() - began)

    def note_answer(self, kind: str, verdict: Verdict, answer: Answer) -> None:
        """Count a request of this kind by its outcome."""
        self.traffic.ended(kind, verdict.kind.outcome, answer.answered_at - answer.sent_at)

    def on_answer(self, kind: str, verdict: Verdict, answer: Answer) -> None:
        """Apply the consequences of an answer for all requests: continue, slow down, wait, or stop."""
        self.note_answer(kind, verdict, answer)
        self.pacer.on_answer(answer.sent_at, answer.answered_at)
        if verdict.kind is Kind.RATE_LIMITED:
            self.traffic.count("refused_429")
        if verdict.kind is Kind.MAINTENANCE:
            self.traffic.note("maintenance_455")
        now = self.clock.monotonic()
        self._follow(self.health.answered(verdict, answer.sent_at, now, answer.retry_after), answer.sent_at)

    def on_capacity_429(self, verdict: Verdict, answer: Answer) -> None:
        """Handle a 429 about the tasks in flight: only submits wait, unless it requests a pause."""
        self.note_answer("submit", verdict, answer)
        self.pacer.on_answer(answer.sent_at, answer.answered_at)
        self.traffic.count("refused_429")
        if pause := verdicts.clamp_retry_after(answer.retry_after, 0.0, longest=self.health.longest_pause):
            self.pacer.pause(pause)

    def on_failure(self, error: NeverSent | MaybeSent) -> None:
        """Apply the consequences of a request without an answer."""
        now = self.clock.monotonic()
        self._follow(self.health.failed(error, now, random.random()), now)

    def _follow(self, advice: Advice, sent_at: float) -> None:
        for event, words in advice.news:
            self.report(event, words)
        if advice.is_429:
            is_slower = self.pacer.pushed_back(sent_at, advice.pause)
            if is_slower and advice.if_slower is not None:
                self.report(*advice.if_slower, seconds=advice.pause)
        elif advice.pause:
            self.pacer.pause(advice.pause)
        if advice.stop is not None:
            self.state.stop_run(advice.stop)

    def stop_if_spent(self, now: float) -> None:
        """End the run if there was no good answer for all of --patience."""
        if (stop := self.health.spent(now)) is not None:
            self.state.stop_run(stop)


def _agenda(settings: Settings, now: float, *, expects_calls: bool) -> Agenda:
    if not settings.leaves:
        return Agenda(expects_calls=expects_calls)
    return TickAgenda(begun=now if settings.mode == "tick" else -inf, asks_all=settings.rate_limit is None)


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Finish the record of a request even when cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error from None  # a failed record is worse than a cancellation
        raise
