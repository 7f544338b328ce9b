"""Continue the tasks that earlier runs left open at this account, and report those of other accounts."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Collection

from batchswap.events import LogEvent
from batchswap.ledger import queries, releases
from batchswap.ledger.runs import ticks
from batchswap.ledger.runs.ticks import PollMark
from batchswap.runner.background import accompany
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.outcomes import Accepted, ResultReady
from batchswap.runner.scheduler import Loop
from batchswap.runner.stop_reasons import elsewhere_words
from batchswap.runner.task_context import Job, age_of, seconds_of
from batchswap.states import TO_COLLECT, State


def resume(run: RunContext, loop: Loop) -> None:
    """Continue the tasks that the ledger has open at this account."""
    accompany(run, loop)
    now, wall = run.clock.monotonic(), run.clock.now()
    elsewhere = Counter[str]()
    others = 0
    unexplained = queries.unexplained(run.ledger.db)
    marks, url_life = ticks.poll_marks(run.ledger.db), ticks.url_life(run.ledger.db)
    series = ticks.series_of(run.ledger.db, run.ledger.run_id)
    withdrawn = releases.withdrawn(run.ledger.db)
    for found in queries.unfinished(run.ledger.db, *TO_COLLECT, State.UNCERTAIN):
        if found.account != run.account.name:
            if found.task.state is not State.UNCERTAIN:
                elsewhere[found.account] += 1
            continue
        age = age_of(found.attempt.accepted_at or found.attempt.submitted_at, wall)
        started = now - (age or 0.0)
        is_ours = found.owner == run.account.owner
        others += not is_ours
        job = Job(found.task, found.attempt, started, seconds=seconds_of(found.task), may_be_lost=is_ours)
        job.is_in_series = found.series == series
        job.is_timed = age is not None
        job.timeout_from = now - (age_of(found.since, wall) or 0.0)
        if found.task.state is State.RUNNING:
            _recall(job, marks.get(found.attempt.id), now, wall)
            # Its callback may have arrived while no run listened. A tick cannot plan a poll without an age.
            is_due = run.inbox.calls is not None or (run.settings.mode == "tick" and age is None)
            loop.apply(Accepted(job, is_due=is_due))
        elif found.task.state is State.FETCHING:
            if run.settings.mode != "submit":
                job.ready_at = found.since
                job.has_old_url = url_life is not None and wall - found.since > url_life
                loop.apply(ResultReady(job, found.media))
        elif run.account.is_idempotent:
            if found.task.consent not in withdrawn:
                loop.queue.resend(found.task, found.attempt)
        elif is_ours and unexplained is not None and unexplained[0] == found.attempt.id:
            # The process died before it could read the balance.
            run.evidence.submit_was_unclear(found.attempt, unexplained[1])
    if elsewhere:
        run.report(LogEvent.OTHER_ACCOUNT, elsewhere_words(elsewhere), logging.WARNING, tasks=elsewhere.total())
    if others:
        tasks, them = ("task was", "it") if others == 1 else ("tasks were", "them")
        words = f"{others:,} unfinished {tasks} submitted with another key: this run polls {them} with the present key"
        run.report(LogEvent.OTHER_ACCOUNT, words, logging.WARNING, tasks=others)


def _recall(job: Job, mark: PollMark | None, now: float, wall: float) -> None:
    """Note what earlier ticks have learned about the task."""
    if mark is None:
        return
    if mark.seen_at is not None and (seen := age_of(mark.seen_at, wall)) is not None:
        job.seen = now - seen
    if mark.missing and mark.missing_since is not None and (missing := age_of(mark.missing_since, wall)) is not None:
        job.missing, job.missing_since = mark.missing, now - missing


def count_elsewhere(db: sqlite3.Connection, account: str, batches: Collection[str]) -> Counter[str]:
    """Count, by account, the paid tasks of these batches that a run with this account cannot collect."""
    found = queries.unfinished(db, *TO_COLLECT)
    return Counter(each.account for each in found if each.account != account and each.task.batch in batches)
