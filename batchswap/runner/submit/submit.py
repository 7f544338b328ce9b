"""Submit a task: write the attempt to disk, send one CreateTask, and write the outcome to disk, as one step."""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Concatenate, ParamSpec

import msgspec

from batchswap import verdicts, wire
from batchswap.client import CancelledUnsent
from batchswap.errors import Exit, IdTaken, LostRace, MaybeSent, NeverSent
from batchswap.events import LogEvent
from batchswap.ledger import api_cache, transitions
from batchswap.ledger.budgets import Budget, OverBudget
from batchswap.ledger.enrolment import duplicates
from batchswap.ledger.enrolment.input_files import content_of
from batchswap.ledger.submission_log.entries import What
from batchswap.ledger.transitions import Stamp
from batchswap.polling import Capacity
from batchswap.runner.context.run_context import RunContext, finish
from batchswap.runner.context.run_state import Refusals
from batchswap.runner.outcomes import SETTLED, Accepted, PrepareAgain, SendAgain, Settled, SubmitOutcome
from batchswap.runner.prepare.detection import is_doubtful
from batchswap.runner.prepare.pricing import CostEstimates
from batchswap.runner.stop_reasons import OUT_OF_CREDITS, Stop
from batchswap.runner.task_context import Job, Ready, name_of
from batchswap.states import Event
from batchswap.tasks import Attempt, Task, clean
from batchswap.verdicts import Kind, Verdict

P = ParamSpec("P")
ENDED_UNSENT = "the run ended before it was sent"
Move = Callable[[sqlite3.Connection, Stamp, Attempt, str], None]
"""Record that an attempt was accepted under a remote id."""


class Submitting:
    """Sends prepared tasks."""

    def __init__(self, run: RunContext, prices: CostEstimates) -> None:
        self._run, self._prices = run, prices
        self._refusals = Refusals(run.state, run.settings.same_refusals, "submits")
        self.capacity = Capacity(run.settings.in_flight)
        self._refused_since = inf
        """Since when all submits were postponed, although other calls may work."""
        self._unrecorded: list[Callable[[], Awaitable[None]]] = []
        """Transitions that could not be written. They are tried again at the end of the run."""
        self._renewed: set[int] = set()
        """Tasks whose faces were detected again because the API refused the detection."""

    async def submit(self, ready: Ready, ticket: int) -> SubmitOutcome:
        """Send the task. `ticket` is its place in the window."""
        run = self._run
        if not await run.ledger.is_well():
            return SendAgain(ready)
        before = run.evidence.quiet if run.is_quiet else None
        intent = asyncio.ensure_future(self._intend(ready, before))
        try:
            attempt = await asyncio.shield(intent)
        except asyncio.CancelledError:
            await finish(self._withdraw(ready, intent))
            raise
        if not isinstance(attempt, Attempt):
            return attempt
        if not await run.ledger.is_well():
            return await finish(self._requeue(ready, attempt, "never-sent", "the ledger file was moved or replaced"))
        if run.state.run_stop is not None:  # the run ended while the attempt was being written
            return await finish(self._requeue(ready, attempt, "never-sent", ENDED_UNSENT))
        body = run.inbox.add_url(ready.body, attempt.ref)
        run.evidence.submit_left()
        run.pacer.left(ticket)  # writing the attempt took some time
        served_at = run.health.served_at
        try:
            with run.calling("submit"):
                answer = await run.api.create_task(body, attempt.ref)
        except NeverSent as error:
            run.on_failure(error)
            self._note(Verdict(Kind.NEVER_SENT, "no connection"))
            return await finish(self._requeue(ready, attempt, "never-sent", str(error)))
        except MaybeSent as error:
            run.on_failure(error)
            return await finish(self._lose(ready, attempt, "no-answer", str(error), before))
        except CancelledUnsent:
            await finish(self._requeue(ready, attempt, "never-sent", ENDED_UNSENT))
            raise
        except asyncio.CancelledError:
            await finish(self._lose(ready, attempt, "interrupted", "the run ended before the answer arrived", None))
            raise
        remote_id = wire.CreateTaskAccepted.from_json(answer.data).task_id
        verdict = verdicts.judge_submit(answer.status, answer.code, remote_id, is_envelope=answer.is_envelope)
        if verdict.kind is Kind.RATE_LIMITED and self._is_full(served_at):
            run.on_capacity_429(verdict, answer)
        else:
            run.on_answer("submit", verdict, answer)
            self._note(verdict)
        named = remote_id or clean(answer.named)
        return await finish(self._record(ready, attempt, verdict, named, answer.message, before))

    def _is_full(self, served_at: float) -> bool:
        """Return whether a 429 to a submit concerns the tasks in flight. `served_at` is of the time it was sent."""
        run, capacity = self._run, self.capacity
        is_news = capacity.believed is None
        is_full = capacity.refused(run.clock.monotonic(), len(run.agenda), served_at)
        if is_full and is_news:
            tasks = "task" if capacity.believed == 1 else "tasks"
            words = f"the API accepts only {capacity.believed} {tasks} at once (429 to submits): the others wait"
            run.report(LogEvent.IN_FLIGHT_LOWERED, words, in_flight=capacity.believed)
        return is_full

    def _note(self, verdict: Verdict) -> None:
        """Stop submitting when all submits were postponed for --patience, even if other calls work."""
        run = self._run
        now = run.clock.monotonic()
        match verdict.kind:
            case Kind.RATE_LIMITED | Kind.MAINTENANCE | Kind.NEVER_SENT:
                self._refused_since = min(self._refused_since, now)
            case Kind.ACCEPTED | Kind.REJECTED | Kind.NO_CREDITS:
                self._refused_since = inf
        if now - self._refused_since > run.settings.patience:
            words = f"submits were only postponed ({verdict.code}) for all of --patience: nothing more is submitted"
            run.state.stop_submits(Stop(Exit.UNAVAILABLE, words))

    async def _intend(self, ready: Ready, balance: float | None) -> Attempt | SendAgain | Settled:
        """Write the attempt to disk before it is sent. SendAgain means that the budget must wait for other tasks."""
        run, settings = self._run, self._run.settings
        if ready.again is not None:
            again = ready.again
            try:
                await run.ledger.write(transitions.resent, again)
            except LostRace:
                return SETTLED  # a callback has settled it in the meantime
            return again
        budget = Budget(settings.budget, settings.budget_per_day)
        ref, reserved, day = str(uuid.uuid4()), self._prices.of_ready(ready), None

        def intend(db: sqlite3.Connection, stamp: Stamp) -> Attempt | None:
            if self._is_duplicate(db, stamp, ready):
                return None
            return transitions.submit(
                db,
                stamp,
                ready.task,
                reserved=reserved,
                budget=budget,
                account=run.account.name,
                estimate=ready.price,
                seconds=ready.seconds,
                balance=balance,
                used=ready.used,
                ref=ref,
                day=day,
            )

        try:
            day = run.ledger.log.reserve(ready.task, ref, reserved, settings.budget_per_day)
            attempt = await run.ledger.write(intend)
        except OverBudget:
            run.ledger.log.release(ready.task, ref)
            self._prices.trials.fall_short()
            return SendAgain(ready)
        if attempt is None:
            run.ledger.log.release(ready.task, ref)
            return SETTLED
        run.ledger.log.note(What.SENT, ready.task, attempt)
        return attempt

    async def _surely(
        self, transition: Callable[Concatenate[sqlite3.Connection, Stamp, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Record a transition, at the end of the run if it fails now. Without it, the attempt would be uncertain."""
        work = partial(self._run.ledger.write, transition, *args, **kwargs)
        try:
            await work()
        except (IdTaken, LostRace):
            raise
        except Exception:
            self._unrecorded.append(work)
            raise

    async def record_rest(self) -> None:
        """Try again to record transitions that failed, for example because the ledger was locked or the disk full."""
        rest, self._unrecorded = self._unrecorded, []
        done = await asyncio.gather(*(work() for work in rest), return_exceptions=True)
        if done and not any(isinstance(each, Exception) for each in done):
            answers, are = ("answer", "is") if len(done) == 1 else ("answers", "are")
            words = f"{len(done):,} {answers} that could not be recorded at first {are} in the ledger now"
            self._run.report(LogEvent.ANSWERS_RECORDED, words, logging.WARNING, answers=len(done))

    async def _withdraw(self, ready: Ready, intent: "asyncio.Task[Attempt | SendAgain | Settled]") -> None:
        """Requeue a task whose run ended while the attempt was being written. Nothing was sent."""
        await asyncio.wait([intent])
        if intent.exception() is None and isinstance(attempt := intent.result(), Attempt):
            await self._requeue(ready, attempt, "never-sent", ENDED_UNSENT)

    def _is_duplicate(self, db: sqlite3.Connection, stamp: Stamp, ready: Ready) -> bool:
        """Return whether another batch has a result from the same bytes in files of other names, or will have one.

        Then the row is not sent: it waits for that result with --duplicates reuse, and otherwise fails unpaid.
        """
        run, item = self._run, ready.task
        content = content_of(item, ready.used)
        if content is None or run.settings.duplicates == "pay":
            return False
        other = duplicates.same_content(db, item, content, run.account.name)
        if other is None:
            return False
        if run.settings.duplicates == "reuse":
            duplicates.wait_for(db, item, other, content)
        else:
            transitions.unfit(
                db,
                stamp,
                item.id,
                code="duplicate",
                reason=unpaid_words(other, "the same bytes in files of other names"),
            )
        return True

    async def _record(
        self, ready: Ready, attempt: Attempt, verdict: Verdict, remote_id: str, message: str, before: float | None
    ) -> SubmitOutcome:
        run = self._run
        reason = clean(message) or verdict.kind.value
        if verdict.kind is Kind.ACCEPTED:
            try:
                return await self._accept(ready, attempt, remote_id)
            except IdTaken as error:
                verdict, reason = Verdict(Kind.UNKNOWN, "repeated-id"), f"the answer repeats a task id: {error}"
                _warn_uncertain(run, ready.task, attempt, reason)
                remote_id = ""  # the id belongs to another attempt
        if verdict.kind is Kind.NO_CREDITS:
            run.state.stop_submits(OUT_OF_CREDITS)
        if verdict.kind is Kind.UNKNOWN or run.inbox.get(attempt.ref) is not None:  # a callback proves the acceptance
            return await self._lose(ready, attempt, verdict.code, reason, before, named=remote_id)
        if verdict.kind is not Kind.REJECTED or ready.again is not None:
            return await self._requeue(ready, attempt, verdict.code, reason)
        run.evidence.submit_was_clear()
        if self._may_have_expired(ready, verdict):
            return await self._renew(ready, attempt, verdict, reason)
        run.ledger.log.note(What.REFUSED, ready.task, attempt, code=verdict.code)
        await self._surely(transitions.refused, attempt, Event.REJECTED, code=verdict.code, reason=reason)
        self._refusals.note(verdict.code)
        return SETTLED

    async def _accept(
        self, ready: Ready, attempt: Attempt, remote_id: str, move: Move = transitions.accepted
    ) -> Accepted:
        """Record the acceptance. Raise IdTaken, with nothing recorded, if another attempt has this id."""
        run = self._run
        run.ledger.log.note(What.ACCEPTED, ready.task, attempt, id=remote_id)
        try:
            await self._surely(move, attempt, remote_id)
        except IdTaken:
            raise
        except Exception as error:
            if not (isinstance(error, LostRace) and move is transitions.attached):  # else it is recorded already
                warn_unrecorded(run, ready.task, remote_id)
            raise
        self._refusals.clear()
        self.capacity.accepted(run.clock.monotonic(), len(run.agenda) + 1)
        run.evidence.submit_was_clear()
        known = msgspec.structs.replace(attempt, remote_id=remote_id, accepted_at=run.clock.now())
        task = _submitted(ready, attempt)
        return Accepted(Job(task, known, run.clock.monotonic(), seconds=ready.seconds))

    def _may_have_expired(self, ready: Ready, verdict: Verdict) -> bool:
        """Return whether the refusal may be due to an expired detection. True at most once for each task."""
        if ready.detected is None or verdict.code not in ("404", "422") or ready.task.id in self._renewed:
            return False
        return is_doubtful(ready.detected, self._run.clock.now())

    async def _renew(self, ready: Ready, attempt: Attempt, verdict: Verdict, reason: str) -> PrepareAgain:
        """Requeue the task without its detection. Nothing was paid, because the submit was refused."""
        run, found = self._run, ready.detected
        self._renewed.add(ready.task.id)
        if found is not None:
            await run.ledger.do(api_cache.forget_detection, run.account.owner, found)
        await self._requeue(ready, attempt, verdict.code, reason)
        return PrepareAgain(msgspec.structs.replace(ready.task, attempts=attempt.number))

    async def _requeue(self, ready: Ready, attempt: Attempt, code: str, reason: str) -> SendAgain | Settled:
        run = self._run
        if ready.again is not None:  # the outcome of the first request is still unknown
            await self._leave_unknown(ready, attempt, code, reason)
            return SETTLED
        run.ledger.log.note(What.REFUSED, ready.task, attempt, code=code)
        await self._surely(transitions.refused, attempt, Event.REFUSED, code=code, reason=reason)
        task = msgspec.structs.replace(ready.task, attempts=attempt.number)
        return SendAgain(msgspec.structs.replace(ready, task=task))

    async def _lose(
        self, ready: Ready, attempt: Attempt, code: str, reason: str, before: float | None, *, named: str = ""
    ) -> SubmitOutcome:
        """Mark the attempt as uncertain, unless a callback has confirmed it or it can be sent again safely."""
        run = self._run
        if (accepted := await self._accept_callback(ready, attempt, transitions.accepted)) is not None:
            return accepted
        await self._leave_unknown(ready, attempt, code, reason, named)
        try:
            if (accepted := await self._accept_callback(ready, attempt, transitions.attached)) is not None:
                return accepted  # a callback arrived during the write
        except LostRace:  # another callback has attached the attempt already
            return SETTLED
        if run.account.is_idempotent and ready.resends < run.settings.retries:
            task = _submitted(ready, attempt)
            return SendAgain(msgspec.structs.replace(ready, task=task, again=attempt, resends=ready.resends + 1))
        run.evidence.submit_was_unclear(attempt, before)
        run.state.wake()
        return SETTLED

    async def _accept_callback(self, ready: Ready, attempt: Attempt, move: Move) -> Accepted | None:
        """Record the acceptance that a callback showed. Return None without one, or if its id is another attempt's."""
        remote_id = self._run.inbox.get(attempt.ref)  # it stays there, so that the task is polled at once
        if remote_id is None:
            return None
        try:
            return await self._accept(ready, attempt, remote_id, move)
        except IdTaken:
            self._run.inbox.pop(attempt.ref)
            return None

    async def _leave_unknown(self, ready: Ready, attempt: Attempt, code: str, reason: str, named: str = "") -> None:
        """Record the attempt as uncertain. `named` is a task id from an answer that was no clear acceptance."""
        run = self._run
        words = clean(f"{reason}; the answer names the task id {named}" if named else reason)
        run.ledger.log.note(What.UNKNOWN, ready.task, attempt, code=code, id=named)
        try:
            await run.ledger.write(transitions.unknown, attempt, code=code, reason=words, named=named)
        finally:
            if named:
                _warn_uncertain(run, ready.task, attempt, words)


def warn_unrecorded(run: RunContext, task: Task, remote_id: str) -> None:
    """Report an id that could not be recorded, because it is the only link to the paid task."""
    words = (
        f"{name_of(task)} was accepted as {remote_id}, but this cannot be recorded: keep the id for `batchswap resolve`"
    )
    run.report(LogEvent.ID_NOT_RECORDED, words, logging.WARNING, task=name_of(task), id=remote_id)


def _warn_uncertain(run: RunContext, task: Task, attempt: Attempt, reason: str) -> None:
    words = f"{name_of(task)} is uncertain: {reason}"
    run.report(LogEvent.TASK_UNCERTAIN, words, logging.WARNING, task=name_of(task), attempt=attempt.number)


def _submitted(ready: Ready, attempt: Attempt) -> Task:
    """Return the task with this attempt counted, once even if it is sent again."""
    paid = ready.task.paid + (ready.again is None)
    return msgspec.structs.replace(ready.task, attempts=attempt.number, paid=paid)


def unpaid_words(other: Task, inputs: str) -> str:
    """Return the reason why a row is not submitted whose inputs another task has too."""
    return (
        f"{other.batch}/{other.key} ({other.state}) has {inputs}: nothing was paid; queue this row again with"
        " `batchswap retry`, then run with --duplicates reuse or --duplicates pay"
    )
