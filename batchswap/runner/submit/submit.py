"""One CreateTask: the intent on disk, one request, what became of it on disk. A POST and its record are one step."""

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
Move = Callable[[sqlite3.Connection, Stamp, Attempt, str], None]
"""Records that an attempt was accepted, under a remote id."""


class Submitting:
    """Sends ready tasks."""

    def __init__(self, run: RunContext, prices: CostEstimates) -> None:
        self._run, self._prices = run, prices
        self._refusals = Refusals(run.state, run.settings.same_refusals, "submits")
        self.capacity = Capacity(run.settings.in_flight)
        self._refused_since = inf
        """Since when every submit was told to come later, though other calls may work."""
        self._unrecorded: list[Callable[[], Awaitable[None]]] = []
        """What is known of attempts and could not be written: it is tried again at the end of the run."""
        self._renewed: set[int] = set()
        """Tasks whose faces were detected anew because the API refused the detection that they had."""

    async def submit(self, ready: Ready, ticket: int) -> SubmitOutcome:
        """Send the task. `ticket` names the place in the window that it has."""
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
            return await finish(self._requeue(ready, attempt, "never-sent", "the ledger was no longer in its place"))
        if run.state.run_stop is not None:  # since the intent was on its way to the disk
            return await finish(self._requeue(ready, attempt, "never-sent", "the run was ended before it was sent"))
        body = run.inbox.add_url(ready.body, attempt.ref)
        run.evidence.submit_left()
        run.pacer.left(ticket)  # the intent had to reach the disk first
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
            await finish(self._requeue(ready, attempt, "never-sent", "the run was ended before it was sent"))
            raise
        except asyncio.CancelledError:
            await finish(self._lose(ready, attempt, "interrupted", "the run was ended before the answer came", None))
            raise
        remote_id = wire.CreateTaskAccepted.from_json(answer.data).task_id
        verdict = verdicts.judge_submit(answer.status, answer.code, remote_id, is_envelope=answer.is_envelope)
        if verdict.kind is Kind.RATE_LIMITED and self._is_full(served_at):
            run.on_capacity_429(answer)
        else:
            run.on_answer(verdict, answer)
            self._note(verdict)
        named = remote_id or clean(answer.named)
        return await finish(self._record(ready, attempt, verdict, named, answer.message, before))

    def _is_full(self, served_at: float) -> bool:
        """Whether the 429 to a submit that left when something else had been served at `served_at` counts tasks."""
        run, capacity = self._run, self.capacity
        is_news = capacity.believed is None
        is_full = capacity.refused(run.clock.monotonic(), len(run.agenda), served_at)
        if is_full and is_news:
            tasks = "task" if capacity.believed == 1 else "tasks"
            words = f"the API takes {capacity.believed} {tasks} at once: the others wait for a place"
            run.report(LogEvent.IN_FLIGHT_LOWERED, f"429 to submits alone: {words}", in_flight=capacity.believed)
        return is_full

    def _note(self, verdict: Verdict) -> None:
        """Submits that have to come later for all of --patience need not try again, however well other calls work."""
        run = self._run
        now = run.clock.monotonic()
        match verdict.kind:
            case Kind.RATE_LIMITED | Kind.MAINTENANCE | Kind.NEVER_SENT:
                self._refused_since = min(self._refused_since, now)
            case Kind.ACCEPTED | Kind.REJECTED | Kind.NO_CREDITS:
                self._refused_since = inf
        if now - self._refused_since > run.settings.patience:
            words = f"submits were only put off ({verdict.code}) for all of --patience: stopped"
            run.state.stop_submits(Stop(Exit.UNAVAILABLE, words))

    async def _intend(self, ready: Ready, balance: float | None) -> Attempt | SendAgain | Settled:
        """The attempt on disk, before anything leaves. SendAgain: the budget has too little before others end."""
        run, settings = self._run, self._run.settings
        if ready.again is not None:
            again = ready.again
            try:
                await run.ledger.write(transitions.resent, again)
            except LostRace:
                return SETTLED  # a callback has settled it meanwhile
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
        """Record what is known of an attempt, if not now then at the end: without it, the attempt is uncertain."""
        work = partial(self._run.ledger.write, transition, *args, **kwargs)
        try:
            await work()
        except (IdTaken, LostRace):
            raise
        except Exception:
            self._unrecorded.append(work)
            raise

    async def record_rest(self) -> None:
        """Try once more to record what could not be recorded; the ledger may have been locked or full for a while."""
        rest, self._unrecorded = self._unrecorded, []
        done = await asyncio.gather(*(work() for work in rest), return_exceptions=True)
        if done and not any(isinstance(each, Exception) for each in done):
            answers = "answer" if len(done) == 1 else "answers"
            words = f"{len(done):,} {answers} that could not be recorded at first: recorded after all"
            self._run.report(LogEvent.ANSWERS_RECORDED, words, logging.WARNING, answers=len(done))

    async def _withdraw(self, ready: Ready, intent: "asyncio.Task[Attempt | SendAgain | Settled]") -> None:
        """The run was ended while the intent was on its way to the disk: nothing was sent, whenever it gets there."""
        await asyncio.wait([intent])
        if intent.exception() is None and isinstance(attempt := intent.result(), Attempt):
            await self._requeue(ready, attempt, "never-sent", "the run was ended before it was sent")

    def _is_duplicate(self, db: sqlite3.Connection, stamp: Stamp, ready: Ready) -> bool:
        """Whether another batch has a result of the same bytes, or is about to, from files of other names.

        Then nothing leaves: the row waits for that result with --duplicates reuse, and fails unpaid without it.
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
            transitions.unfit(db, stamp, item.id, code="duplicate", reason=same_bytes_words(other))
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
                remote_id = ""  # it is in the ledger, as another attempt's
        if verdict.kind is Kind.NO_CREDITS:
            run.state.stop_submits(OUT_OF_CREDITS)
        if verdict.kind is Kind.UNKNOWN or run.inbox.get(attempt.ref) is not None:  # who calls back for it has taken it
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
        """Raises IdTaken, with nothing recorded: an id that another attempt has is no acceptance of this one."""
        run = self._run
        run.ledger.log.note(What.ACCEPTED, ready.task, attempt, id=remote_id)
        try:
            await self._surely(move, attempt, remote_id)
        except IdTaken:
            raise
        except Exception as error:
            if not (isinstance(error, LostRace) and move is transitions.attached):  # then it is known already
                warn_unrecorded(run, ready.task, remote_id)
            raise
        self._refusals.clear()
        self.capacity.accepted(run.clock.monotonic(), len(run.agenda) + 1)
        run.evidence.submit_was_clear()
        known = msgspec.structs.replace(attempt, remote_id=remote_id, accepted_at=run.clock.now())
        task = _submitted(ready, attempt)
        return Accepted(Job(task, known, run.clock.monotonic(), seconds=ready.seconds))

    def _may_have_expired(self, ready: Ready, verdict: Verdict) -> bool:
        """Whether the refusal may mean the detection and not the row. Once for each task."""
        if ready.detected is None or verdict.code not in ("404", "422") or ready.task.id in self._renewed:
            return False
        return is_doubtful(ready.detected, self._run.clock.now())

    async def _renew(self, ready: Ready, attempt: Attempt, verdict: Verdict, reason: str) -> PrepareAgain:
        """Back to the queue, without the detection. Nothing was paid: the submit is known to be refused."""
        run, found = self._run, ready.detected
        self._renewed.add(ready.task.id)
        if found is not None:
            await run.ledger.do(api_cache.forget_detection, run.account.owner, found)
        await self._requeue(ready, attempt, verdict.code, reason)
        return PrepareAgain(msgspec.structs.replace(ready.task, attempts=attempt.number))

    async def _requeue(self, ready: Ready, attempt: Attempt, code: str, reason: str) -> SendAgain | Settled:
        run = self._run
        if ready.again is not None:  # of its first sending nobody knows still
            await self._leave_unknown(ready, attempt, code, reason)
            return SETTLED
        run.ledger.log.note(What.REFUSED, ready.task, attempt, code=code)
        await self._surely(transitions.refused, attempt, Event.REFUSED, code=code, reason=reason)
        task = msgspec.structs.replace(ready.task, attempts=attempt.number)
        return SendAgain(msgspec.structs.replace(ready, task=task))

    async def _lose(
        self, ready: Ready, attempt: Attempt, code: str, reason: str, before: float | None, *, named: str = ""
    ) -> SubmitOutcome:
        """Nobody knows. Unless a callback has told already, or the provider lets us ask by sending it again."""
        run = self._run
        if (accepted := await self._accept_told(ready, attempt, transitions.accepted)) is not None:
            return accepted
        await self._leave_unknown(ready, attempt, code, reason, named)
        try:
            if (accepted := await self._accept_told(ready, attempt, transitions.attached)) is not None:
                return accepted  # a callback came while that was being recorded
        except LostRace:  # and one more, which has attached it: the task is watched already
            return SETTLED
        if run.account.is_idempotent and ready.resends < run.settings.retries:
            task = _submitted(ready, attempt)
            return SendAgain(msgspec.structs.replace(ready, task=task, again=attempt, resends=ready.resends + 1))
        run.evidence.submit_was_unclear(attempt, before)
        run.state.wake()
        return SETTLED

    async def _accept_told(self, ready: Ready, attempt: Attempt, move: Move) -> Accepted | None:
        """As a callback has told. None: none has, or what it told is another attempt's."""
        remote_id = self._run.inbox.get(attempt.ref)  # left there: whoever watches the task asks for it at once
        if remote_id is None:
            return None
        try:
            return await self._accept(ready, attempt, remote_id, move)
        except IdTaken:
            self._run.inbox.pop(attempt.ref)
            return None

    async def _leave_unknown(self, ready: Ready, attempt: Attempt, code: str, reason: str, named: str = "") -> None:
        """`named`: the task id that an answer held which is no clear acceptance."""
        run = self._run
        words = clean(f"{reason}; the answer names the task id {named}" if named else reason)
        run.ledger.log.note(What.UNKNOWN, ready.task, attempt, code=code, id=named)
        try:
            await run.ledger.write(transitions.unknown, attempt, code=code, reason=words, named=named)
        finally:
            if named:
                _warn_uncertain(run, ready.task, attempt, words)


def warn_unrecorded(run: RunContext, task: Task, remote_id: str) -> None:
    """An id that came is shown at least: it is all that leads to what was paid for."""
    words = f"{name_of(task)} was accepted as {remote_id}, which cannot be recorded: `batchswap resolve` will need it"
    run.report(LogEvent.ID_NOT_RECORDED, words, logging.WARNING, task=name_of(task), id=remote_id)


def _warn_uncertain(run: RunContext, task: Task, attempt: Attempt, reason: str) -> None:
    words = f"{name_of(task)} is uncertain: {reason}"
    run.report(LogEvent.TASK_UNCERTAIN, words, logging.WARNING, task=name_of(task), attempt=attempt.number)


def _submitted(ready: Ready, attempt: Attempt) -> Task:
    """The task with this attempt counted. One that is sent again was counted when it was sent first."""
    paid = ready.task.paid + (ready.again is None)
    return msgspec.structs.replace(ready.task, attempts=attempt.number, paid=paid)


def same_bytes_words(other: Task) -> str:
    """Why a row is not submitted whose files have other names."""
    return _unpaid(other, "the same bytes in files of other names")


def same_inputs_words(other: Task) -> str:
    """Why a row is not submitted that was edited while its task was in progress."""
    return _unpaid(other, "the same inputs")


def _unpaid(other: Task, inputs: str) -> str:
    return (
        f"{other.batch}/{other.key} ({other.state}) has {inputs}: nothing was paid; queue this row again with"
        " `batchswap retry`, then run with --duplicates reuse or --duplicates pay"
    )
