"""Polls and callbacks of accepted tasks. Nothing here leads to a submit by itself (invariant 3)."""

import logging
import sqlite3

from batchswap import verdicts, wire
from batchswap.client import Answer
from batchswap.errors import IdTaken, LostRace, MaybeSent, NeverSent
from batchswap.events import LogEvent
from batchswap.ledger import queries, transitions
from batchswap.ledger.enrolment import enrol
from batchswap.ledger.rows import owner_of
from batchswap.ledger.runs import ticks
from batchswap.ledger.submission_log.entries import What
from batchswap.ledger.transitions import Media, Stamp
from batchswap.runner.collect.input_match import fits
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.outcomes import (
    SETTLED,
    STILL_RUNNING,
    Accepted,
    PayAgain,
    PollOutcome,
    ResultReady,
    Settled,
    StillRunning,
)
from batchswap.runner.prepare.pricing import CostEstimates
from batchswap.runner.submit.submit import warn_unrecorded
from batchswap.runner.task_context import Job, age_of, class_of, name_of
from batchswap.states import Event, State
from batchswap.tasks import Attempt, Task, clean
from batchswap.verdicts import Kind, Verdict

log = logging.getLogger(__name__)

_NO_REMARKS = ("success", "successful", "succeeded", "ok", "done", "completed")
"""Messages without information."""
_ROUTINE = "all frames show a new face"
"""The local provider's message for a good video. It is recorded, but reported with -v only."""
REMARKS = 20
"""Most remarks to report in a run, because an API may send a different one for each task."""


class Collecting:
    """The running tasks."""

    def __init__(self, run: RunContext, prices: CostEstimates) -> None:
        self._run, self._prices = run, prices
        self.jobs: dict[int, Job] = {}
        self._remarks: set[str] = set()
        self._strays: set[str] = set()
        self._has_missed_calls = False

    def watch(self, job: Job, *, due: bool = False) -> None:
        """Poll the task from now on; at once if `due`."""
        self.jobs[job.task.id] = job
        self._prices.trials.watch(job)
        group = class_of(job.task.model, job.seconds).group
        self._run.agenda.watch(job.task.id, group, job.started, job.seen)
        called = self._run.inbox.pop(job.attempt.ref)
        if due or called:
            self._run.agenda.called_back(job.task.id)
        self._run.state.wake()

    def away(self, seconds: float) -> None:
        """Do not count time in which nothing could be polled as time without a useful answer."""
        for job in self.jobs.values():
            job.trouble_since += seconds
            job.missing_since += seconds

    async def poll(self, job: Job) -> PollOutcome:
        """Request TaskInfo once and act on the answer."""
        run = self._run
        sent_at = run.clock.monotonic()
        try:
            with run.calling("poll"):
                answer = await run.api.task_info(job.attempt.remote_id or "")
        except (NeverSent, MaybeSent) as error:
            run.on_failure(error)
            return await self._later(job, sent_at)
        is_bare = answer.code is None and wire.TaskInfo.from_json(answer.data).task_id == job.attempt.remote_id
        verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope, is_about_task=is_bare)
        run.on_answer("poll", verdict, answer)
        return await self._take_answer(job, verdict, answer, sent_at)

    async def _take_answer(self, job: Job, verdict: Verdict, answer: Answer, sent_at: float) -> PollOutcome:
        match verdict.kind:
            case Kind.OK:
                return await self._settle(job, wire.TaskInfo.from_json(answer.data), sent_at)
            case Kind.MISSING:
                job.missing += 1
                job.missing_since = sent_at if job.missing == 1 else job.missing_since
                if job.may_be_lost and verdicts.is_lost(job.missing, sent_at - job.missing_since):
                    reason = "the API no longer knows the task"
                    return await self._end(job, Event.LOST, code="lost", reason=reason)
                if self._run.settings.leaves:
                    since = self._run.clock.now() - (self._run.clock.monotonic() - job.missing_since)
                    await self._run.ledger.do(ticks.note_missing, job.attempt.id, job.missing, since)
                return await self._later(job, sent_at)
            case Kind.RATE_LIMITED | Kind.MAINTENANCE | Kind.ACCOUNT_REFUSED:
                self._run.agenda.put_back(job.task.id, sent_at)
                return STILL_RUNNING
            case _:
                return await self._later(job, sent_at)

    async def _settle(self, job: Job, info: wire.TaskInfo, at: float) -> PollOutcome:
        """Act on TaskInfo or a callback. `at` is the monotonic time of the request or callback."""
        result = info.result or wire.Result()
        verdict = verdicts.judge_task(job.attempt.remote_id or "", info.task_id, info.status, len(result.media_urls))
        match verdict.kind:
            case Kind.RUNNING:
                self._run.traffic.note("early")
                return await self._still_running(job, at)
            case Kind.SUCCEEDED:
                return await self._succeed(job, info, result.media_urls)
            case Kind.FAILED:
                code = str(result.code or wire.GENERATION_FAILED)
                rose = self._prices.learn(job, info.credits, is_done=False)
                again = verdicts.may_pay_again(job.task.paid, self._run.settings.paid_attempts)
                again = again and enrol.is_wanted(self._run.ledger.db, job.task.id)
                event = Event.PAYABLE_AGAIN if again else Event.GENERATION_FAILED
                reason = clean(result.message) or "the generation failed"
                outcome = await self._end(job, event, code=code, reason=reason, charged=info.credits, took=info.took)
                if rose:
                    await self._run.ledger.do(transitions.revalue, self._run.account.name, self._prices.expected)
                return outcome
            case _:
                return await self._later(job, at)

    async def _still_running(self, job: Job, at: float) -> PollOutcome:
        was_missing = job.missing > 0
        job.missing = job.troubles = 0
        callback, job.pending_callback = job.pending_callback, None
        if callback is not None:  # it arrived during the poll
            return await self._settle(job, callback, at)
        if await self._time_out(job, job.started if job.timeout_from is None else job.timeout_from):
            return SETTLED
        self._run.agenda.still_running(job.task.id, at)
        if self._run.settings.leaves or was_missing:  # an earlier tick may have counted polls without an answer
            await self._run.ledger.do(ticks.note_running, job.attempt.id, self._run.clock.now())
        return STILL_RUNNING

    async def _time_out(self, job: Job, since: float, words: str = "not finished after") -> bool:
        """End the task if it has waited for --task-timeout. `retry` resumes the wait and costs nothing."""
        limit = self._run.settings.task_timeout
        if self._run.clock.monotonic() - since <= limit:
            return False
        reason = f"{words} {limit / 3600:g} h; `batchswap retry` resumes the wait and costs nothing"
        await self._end(job, Event.TIMED_OUT, code="timeout", reason=reason)
        return True

    async def _succeed(self, job: Job, info: wire.TaskInfo, urls: tuple[str, ...]) -> ResultReady:
        run = self._run
        job.missing = job.troubles = 0
        rose = self._prices.learn(job, info.credits, is_done=True)

        def record(db: sqlite3.Connection, stamp: Stamp) -> None:
            transitions.succeeded(db, stamp, job.attempt, Media(urls), charged=info.credits, took=info.took)
            if rose:
                transitions.revalue(db, run.account.name, self._prices.expected)

        await run.ledger.write(record)
        run.ledger.log.note(What.ENDED, job.task, job.attempt, charged=info.credits)
        await self._note_remark(job, clean(info.result.message) if info.result else "")
        self._forget(job, info.took, learn=not job.refreshed)
        return ResultReady(job, urls)

    async def _note_remark(self, job: Job, remark: str) -> None:
        """Record the message of a success, for example that one of several faces was used. Report each text once."""
        if not remark or remark.lower().rstrip(".!") in _NO_REMARKS:
            return
        run = self._run
        if remark == _ROUTINE:
            log.info("%s: %s", job.task.key, remark)
        elif remark not in self._remarks and len(self._remarks) < REMARKS:
            self._remarks.add(remark)
            run.report(LogEvent.REMARK, f"{job.task.key}: {remark}", task=name_of(job.task))
        await run.ledger.write(transitions.log, "remark", task_id=job.task.id, attempt_id=job.attempt.id, detail=remark)

    async def _end(
        self,
        job: Job,
        event: Event,
        *,
        code: str,
        reason: str,
        charged: float | None = None,
        took: float | None = None,
    ) -> PayAgain | Settled:
        run = self._run
        await run.ledger.write(
            transitions.ended_badly, job.attempt, event, charged=charged, took=took, code=code, reason=reason
        )
        if event is not Event.TIMED_OUT:
            run.ledger.log.note(What.ENDED, job.task, job.attempt, charged=charged, code=code)
        self._forget(job, took, learn=event in (Event.GENERATION_FAILED, Event.PAYABLE_AGAIN))
        return PayAgain(job.task.id) if event is Event.PAYABLE_AGAIN else SETTLED

    def _forget(self, job: Job, took: float | None, *, learn: bool) -> None:
        self.jobs.pop(job.task.id, None)
        self._prices.trials.end(job.task.id)
        agenda = self._run.agenda
        if learn and job.is_timed:
            agenda.ended(job.task.id, self._run.clock.monotonic(), took)
        else:
            agenda.drop(job.task.id)
        if agenda.calls.fail and not self._has_missed_calls:
            self._has_missed_calls = True
            words = f"{agenda.calls}: can the API reach --callback-url? Polling the tasks instead"
            self._run.report(LogEvent.CALLBACKS_MISSING, words, missed=agenda.calls.missed)
        self._run.state.wake()

    async def _later(self, job: Job, at: float) -> StillRunning | Settled:
        """Poll again later after a failed poll of time `at`, with longer pauses each time.

        Only failures that last for --task-timeout end the task; its age does not.
        """
        job.troubles += 1
        job.trouble_since = at if job.troubles == 1 else job.trouble_since
        if await self._time_out(job, job.trouble_since, "no useful answer about it for"):
            return SETTLED
        now = self._run.clock.monotonic()
        self._run.agenda.put_back(job.task.id, now + self._run.backoff(job.troubles))
        self._run.state.wake()
        return STILL_RUNNING

    async def called_back(self, ref: str, info: wire.TaskInfo) -> Accepted | PollOutcome:
        """Act on a callback for the attempt `ref`. Late, repeated and foreign callbacks change nothing."""
        run = self._run
        found = queries.by_ref(run.ledger.db, ref)
        remote_id = wire.usable_id(info.task_id)
        if found is None or remote_id is None:
            return SETTLED
        task, attempt = found
        if not fits(task, info.param) or owner_of(run.ledger.db, remote_id, attempt) is not None:
            return SETTLED
        run.agenda.calls.came += 1
        if attempt.number != task.attempts:
            await self._note_stray(task, attempt, remote_id)
        elif task.state is State.SUBMITTING or (task.state is State.RUNNING and task.id not in self.jobs):
            run.inbox.put(ref, remote_id)  # it arrived before the answer to CreateTask was recorded
        elif task.state is State.UNCERTAIN:
            run.ledger.log.note(What.ACCEPTED, task, attempt, id=remote_id)
            return await self._attach(attempt, remote_id)
        elif (job := self.jobs.get(task.id)) is not None:
            run.agenda.called_back(task.id)
            if run.agenda.in_hand(task.id):
                job.pending_callback = info
            else:
                run.agenda.take(task.id)
                return await self._settle(job, info, run.clock.monotonic())
        else:
            await self._note_stray(task, attempt, remote_id)
        return SETTLED

    async def _note_stray(self, task: Task, attempt: Attempt, remote_id: str) -> None:
        """Report that an attempt was accepted although a user had resolved it as not accepted, or given it up."""
        if attempt.remote_id is not None or attempt.ref in self._strays:
            return
        self._strays.add(attempt.ref)
        run, name, number = self._run, name_of(task), attempt.number
        words = f"attempt {number} was accepted after all, as {remote_id}, according to a callback"
        ids = {"task": name, "attempt": number, "id": remote_id}
        run.report(LogEvent.STRAY_CALLBACK, f"{name}: {words}", logging.WARNING, **ids)
        await run.ledger.write(transitions.log, "stray-callback", task_id=task.id, attempt_id=attempt.id, detail=words)

    async def _attach(self, attempt: Attempt, remote_id: str) -> Accepted | Settled:
        """Record that an uncertain attempt was accepted after all."""
        run = self._run
        try:
            await run.ledger.write(transitions.attached, attempt, remote_id)
        except IdTaken:  # another submit just got this id
            return SETTLED
        except LostRace:  # the attempt is just being sent again
            run.inbox.put(attempt.ref, remote_id)
            return SETTLED
        except Exception:
            warn_unrecorded(run, transitions.find_task(run.ledger.db, attempt.task_id), remote_id)
            raise
        task, attempt = queries.by_ref(run.ledger.db, attempt.ref) or (
            transitions.find_task(run.ledger.db, attempt.task_id),
            attempt,
        )
        age = age_of(attempt.submitted_at, run.clock.now())
        job = Job(task, attempt, run.clock.monotonic() - (age or 0.0), is_timed=age is not None)
        job.timeout_from = run.clock.monotonic()
        return Accepted(job, is_due=True)
