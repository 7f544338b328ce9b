"""Reuse the result of another task with the same inputs: copy its file. Nothing is sent or paid."""

import asyncio
import sqlite3
from pathlib import Path

import msgspec

from batchswap.downloads import Place, Verified, copy_part, is_published, publish
from batchswap.errors import DownloadError
from batchswap.events import LogEvent, Report
from batchswap.ledger import deliveries, queries, selections, transitions
from batchswap.ledger.enrolment import duplicates
from batchswap.ledger.enrolment.duplicates import Prospect
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.queries import Stored
from batchswap.runner.context.ledger import RunLedger
from batchswap.settings import Settings
from batchswap.tasks import Task


async def reuse(ledger: RunLedger, settings: Settings, account: str, report: Report) -> int:
    """Give waiting rows the results that they reuse. Return how many rows must be submitted instead.

    A row whose other task is not done yet keeps waiting. If the other task's file is missing or changed, the row fails
    unpaid.
    """
    db, released, taken = ledger.db, 0, 0
    for item in selections.waiting(db, selections.selection_of(settings)):
        other = transitions.find_task(db, duplicates.root_of(db, item.id))
        match duplicates.prospect(db, item, other, account, settings.batches):
            case Prospect.NONE:
                await ledger.do(duplicates.release, item.id)
                released += 1
            case Prospect.DONE:
                taken += await _take(ledger, settings.out, item, other)
            case Prospect.COMING:
                continue
    if taken:
        results = "result" if taken == 1 else "results"
        words = f"reused {taken:,} {results} of other tasks with the same inputs: 0 credits"
        report(LogEvent.RESULTS_REUSED, words, results=taken)
    return released


async def _take(ledger: RunLedger, out: Path, item: Task, other: Task) -> bool:
    known = queries.stored_by(ledger.db, other.id)
    if known is None:  # the other task has just left its state
        return False
    if known.is_rejected:
        name = f"{other.batch}/{other.key}"
        reason = f"the result of {name} was rejected: accept it with `batchswap review --accept {name}` and retry this"
        reason += " row, or run with --duplicates pay"
        await ledger.write(transitions.unfit, item.id, code="reuse-rejected", reason=reason)
        return False
    if known.is_withdrawn:
        reason = (
            f"the result of {other.batch}/{other.key} is under a release that was withdrawn: to pay for another one,"
        )
        reason += " retry this row and run with --duplicates pay"
        await ledger.write(transitions.unfit, item.id, code="reuse-withdrawn", reason=reason)
        return False
    try:
        await _place(ledger.db, out, item, known)
    except DownloadError as error:
        reason = f"the result of {other.batch}/{other.key} cannot be reused: {error}"
        if error.reason == "source-gone":
            reason += f"; `batchswap retry {other.batch}/{other.key}` downloads it again"
        code = "reuse-gone" if error.reason == "source-gone" else error.reason
        await ledger.write(transitions.unfit, item.id, code=code, reason=reason)
        return False
    await ledger.write(transitions.reused, item.id, other, file=item.output, size=known.size, sha256=known.sha256)
    if (same := deliveries.find(ledger.db, other.id)) is not None:
        # The other task's signature names that task and its release: this result is not signed yet.
        own = msgspec.structs.replace(same, sha256=known.sha256, signed=False)
        await ledger.write(deliveries.record, item.id, own)
    return True


async def _place(db: sqlite3.Connection, out: Path, item: Task, known: Stored) -> None:
    """Copy the other task's file to this task's name. Raise DownloadError."""
    place, wanted = Place(out, item.output), Verified(known.sha256, known.size, "")
    replaces = queries.previous_result(db, item.id).replaces
    if await is_published(place, known.sha256, known.size):
        return  # an earlier run copied it, or both tasks have the same name
    candidates = _candidates(known, out)
    wrong = f"{candidates[0]} does not exist"
    for source in candidates:
        try:
            if await asyncio.to_thread(hash_file, source) != known.sha256:
                wrong = f"{source} has changed"
                continue
        except OSError:
            continue
        await asyncio.to_thread(copy_part, source, place, wanted)
        await publish(place, wanted, replaces=replaces)
        return
    raise DownloadError("source-gone", wrong)


def _candidates(known: Stored, out: Path) -> list[Path]:
    return [Path(path) for path in known.paths(str(out.absolute()))]


def waiting_words(db: sqlite3.Connection, settings: Settings) -> tuple[str, bool]:
    """Describe the rows that still wait ("" for none), and return whether a task that they wait for is uncertain."""
    left = selections.waiting(db, selections.selection_of(settings))
    if not left:
        return "", False
    others = [transitions.find_task(db, duplicates.root_of(db, item.id)) for item in left]
    named = list(dict.fromkeys(f"{each.batch}/{each.key} ({each.state})" for each in others))
    rows, wait = ("row", "waits") if len(left) == 1 else ("rows", "wait")
    more = " …" if len(named) > duplicates.NAMED else ""
    words = f"{len(left):,} {rows} {wait} for the result of {', '.join(named[: duplicates.NAMED])}{more}"
    return words, any(each.state == "uncertain" for each in others)
