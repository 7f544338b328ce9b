"""The facts of a message about a run, read from the ledger."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger import deliveries, page_queries, queries
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.page_queries import RunRow
from batchswap.notifications.failure import here
from batchswap.report.next_commands import next_steps, orphans_words
from batchswap.report.page import needs
from batchswap.report.status import failed_words, is_running
from batchswap.settings import Mode
from batchswap.states import TO_DO, State

LOOKED_BACK = 200
"""Runs among which one to compare with is looked for."""


class EarlierRun(msgspec.Struct, frozen=True):
    """A run before this one. `exit_code` None: it was killed. `open`: tasks that it left for the next run."""

    started_at: float
    exit_code: int | None
    needs_you: int = 0
    uncertain: int = 0
    open: int = 0
    spent: float = 0.0
    results: int = 0
    reason: str | None = None


class OpenNeed(msgspec.Struct, frozen=True):
    """Tasks that need the user for one reason, without their names: a key may be the name of a person."""

    title: str
    words: str
    count: int
    command: str


class RunEnd(msgspec.Struct, frozen=True):
    """How a run ended. It has no inputs, outputs, keys of tasks, releases and reasons of the API: they may have names.

    `counts` leaves out the rows that the manifests no longer have. `exit_code` None: the run was killed, unless it is
    `in_progress`. `spent_now` is what this run cost, `spent` what its batches cost over all runs. `failures`: the
    number of failed tasks by code. `before` is the last run of the same batches, `comparable` the last one that cost
    something.
    """

    batches: tuple[str, ...]
    mode: Mode
    exit_code: int | None
    reason: str
    counts: dict[str, int]
    spent_now: float | None
    spent: float
    reserved: float
    exceeded: float
    unpriced: int
    balance: float | None
    results: int
    seconds: float | None
    started_at: float
    needs_you: int
    needs: tuple[OpenNeed, ...] = ()
    failures: tuple[tuple[str, int], ...] = ()
    retry: str = ""
    """How to queue the failed tasks again."""
    orphaned: str = ""
    """How many tasks are no longer in the manifest."""
    steps: str = ""
    """The commands that come next."""
    before: EarlierRun | None = None
    comparable: EarlierRun | None = None
    place: str = ""
    in_progress: bool = False
    resume: str = ""
    """The command line of this run, without secrets."""

    @property
    def open(self) -> int:
        """Return the number of tasks that are left for the next run."""
        return open_of(self.counts)

    @property
    def uncertain(self) -> int:
        return self.counts[State.UNCERTAIN]


def open_of(counts: dict[str, int]) -> int:
    """Return the number of tasks that a run can still work on."""
    return sum(counts.get(state, 0) for state in TO_DO)


def own_run(db: sqlite3.Connection) -> RunRow | None:
    """Return the run that this process has just ended."""
    return page_queries.run_of_process(db, os.getpid())


def gather(db: sqlite3.Connection, ledger: Path, run: RunRow, resume: str = "") -> RunEnd:
    """Read the facts about a run."""
    document = document_of(run)
    ids = page_queries.batch_ids(db, page_queries.batches_of(db, run.id))
    batches = tuple(ids)
    counts = queries.counts_in(db, batches)
    gone = orphans.find(db, list(batches))
    wanted = gone.without(counts)
    money = queries.credits_in(db, batches)
    credits_ = document.get("credits") or {}
    seconds = document.get("seconds")
    if not isinstance(seconds, int | float):
        seconds = None if run.ended_at is None else run.ended_at - run.started_at
    earlier = page_queries.runs_of(db, tuple(ids.values()), until=run.id - 1, most=1)
    to_review = deliveries.count_doubtful(db, batches) > 0
    return RunEnd(
        batches=batches,
        mode=run.mode,
        exit_code=run.exit_code,
        reason=str(document.get("reason", "")),
        counts=wanted,
        spent_now=run.spent,
        spent=money.spent,
        reserved=money.reserved,
        exceeded=float(credits_.get("exceeded") or 0.0),
        unpriced=money.unpriced,
        balance=credits_.get("balance"),
        results=page_queries.ends_of(db, run.id).get("succeeded", 0),
        seconds=seconds,
        started_at=run.started_at,
        needs_you=deliveries.needing(db, batches, counts),
        needs=tuple(_needs(db, ledger, ids, counts)),
        failures=tuple(page_queries.failure_codes(db, tuple(ids.values()))),
        retry=failed_words(wanted[State.FAILED], ledger) if wanted[State.FAILED] else "",
        orphaned=orphans_words(gone) if gone.counts else "",
        steps=next(iter(next_steps(wanted, ledger, to_review=to_review)), ""),
        before=_earlier(db, earlier[0]) if earlier else None,
        comparable=_comparable(db, run),
        in_progress=run.exit_code is None and is_running(run, ledger),
        place=here(),
        resume=resume,
    )


def from_document(document: dict[str, Any], mode: Mode, resume: str) -> RunEnd:
    """Return what the document of `run --json` tells, for a ledger that cannot be read any more."""
    money = document["credits"]
    return RunEnd(
        batches=tuple(document["batch"]),
        mode=mode,
        exit_code=document["exit_code"],
        reason=document["reason"],
        counts=document["counts"],
        spent_now=None,
        spent=money["spent"],
        reserved=money["reserved"],
        exceeded=money["exceeded"],
        unpriced=document.get("unpriced_attempts", 0),
        balance=money["balance"],
        results=0,
        seconds=document["seconds"],
        started_at=time.time() - document["seconds"],
        needs_you=document["needs_you"],
        place=here(),
        resume=resume,
    )


def document_of(run: RunRow) -> dict[str, Any]:
    """Return the document of `run --json`, as the ledger has it."""
    found = msgspec.json.decode(run.summary) if run.summary else {}
    return found if isinstance(found, dict) else {}


def _needs(db: sqlite3.Connection, ledger: Path, ids: dict[str, int], counts: dict[str, int]) -> list[OpenNeed]:
    kinds = needs.gather(db, ledger, ids, counts, str, listed=0)
    return [OpenNeed(kind.title, kind.words, kind.count, kind.others) for kind in kinds]


def _earlier(db: sqlite3.Connection, run: RunRow) -> EarlierRun:
    document = document_of(run)
    counts = document.get("counts") or {}
    return EarlierRun(
        started_at=run.started_at,
        exit_code=run.exit_code,
        needs_you=int(document.get("needs_you", 0)),
        uncertain=int(counts.get(State.UNCERTAIN, 0)),
        open=open_of(counts),
        spent=run.spent,
        results=page_queries.ends_of(db, run.id).get("succeeded", 0),
        reason=document.get("reason"),
    )


def _comparable(db: sqlite3.Connection, run: RunRow) -> EarlierRun | None:
    """Return the last run before this one that had results for credits at the same provider, of whatever batch."""
    earlier = (_earlier(db, found) for found in page_queries.paid_runs(db, run, LOOKED_BACK))
    return next((each for each in earlier if each.results), None)
