"""What needs the user, each with its evidence and the commands to choose from."""

import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger import deliveries, page_queries, report_queries
from batchswap.ledger.page_queries import ReportRow
from batchswap.ledger.report_queries import AttemptRow
from batchswap.report.formatting import moment, priced, safe
from batchswap.report.next_commands import command
from batchswap.report.task_detail import balance_words, evidence_words, named_id
from batchswap.states import Quality, State
from batchswap.tasks import clean

LISTED = 100
"""Tasks of one kind that are listed."""
KEPT_DAYS = 3
"""Days that similar services keep a result at least. The API does not say how long it does (docs/api.md)."""

StripOf = Callable[[ReportRow], str]
"""Returns where the page finds the picture of a task."""


class NeedCommand(msgspec.Struct, frozen=True):
    """A command, and when to choose it."""

    when: str
    command: str


class Need(msgspec.Struct, frozen=True):
    """One task that needs the user. `expires_at`: when its result may be gone (Unix time)."""

    kind: str
    task_id: int
    name: str
    title: str
    evidence: tuple[str, ...]
    options: tuple[NeedCommand, ...]
    expires_at: float | None = None
    strip: str = ""
    can_be_reviewed: bool = False


class NeedKind(msgspec.Struct, frozen=True):
    """All tasks that need the user for one reason. `others` is the command that lists those that are not in `needs`."""

    kind: str
    title: str
    words: str
    count: int
    needs: list[Need]
    others: str


def gather(
    db: sqlite3.Connection,
    ledger: Path,
    batches: dict[str, int],
    counts: dict[str, int],
    strip_of: StripOf,
    listed: int = LISTED,
) -> list[NeedKind]:
    """Return the kinds that have any task, in the order of urgency. `listed`: tasks of each kind that are listed."""
    ids, names = tuple(batches.values()), tuple(batches)
    kinds = [
        NeedKind(
            "uncertain",
            "Uncertain submits",
            "The API may have accepted and charged these tasks; no clear answer came. Look for them on your account’s"
            " page at the API, then choose.",
            counts[State.UNCERTAIN],
            list(_needs(db, page_queries.uncertain(db, ids, listed), strip_of, ledger, _uncertain)),
            command("tasks", ledger, options="--state uncertain"),
        ),
        NeedKind(
            "unsaved",
            "Paid, but not on the disk",
            "These results were made and paid for, and their download failed. A retry downloads them, for 0 credits,"
            f" while the API keeps them. It does not say how long; similar services keep results for {KEPT_DAYS} to 14"
            " days.",
            deliveries.count_unsaved(db, names),
            list(_needs(db, page_queries.unsaved(db, ids, listed), strip_of, ledger, _unsaved)),
            command("tasks", ledger, options="--state failed"),
        ),
        NeedKind(
            "doubtful",
            "Results to look at",
            "These files are complete, and may not be what you wanted. Accepting and rejecting is free.",
            deliveries.count_doubtful(db, names),
            list(_needs(db, page_queries.doubtful(db, ids, listed), strip_of, ledger, _doubtful)),
            command("tasks", ledger, options="--quality doubtful"),
        ),
    ]
    return [each for each in kinds if each.count]


Maker = Callable[[sqlite3.Connection, ReportRow, Path, str], Need]


def _needs(
    db: sqlite3.Connection, task_ids: Sequence[int], strip_of: StripOf, ledger: Path, make: Maker
) -> Iterator[Need]:
    for task_id in task_ids:
        row = page_queries.task(db, task_id)
        if row is not None:
            yield make(db, row, ledger, strip_of(row))


def _uncertain(db: sqlite3.Connection, row: ReportRow, ledger: Path, strip: str) -> Need:
    attempt = _last_attempt(db, row)
    evidence = [_cause(row)]
    if attempt is not None:
        evidence.append(f"submitted {moment(attempt.submitted_at)}; {priced(attempt.reserved)} reserved")
        evidence.append(balance_words(attempt))
    name = _name(row)
    remote_id = named_id(report_queries.events(db, row.id)) or "ID"
    options = (
        NeedCommand("see the evidence", command("show", ledger, name)),
        NeedCommand("it was accepted", command("resolve", ledger, name, options=f"--task-id {shlex.quote(remote_id)}")),
        NeedCommand("it was not: queue it again", command("resolve", ledger, name, options="--not-accepted")),
        NeedCommand("leave it as failed", command("resolve", ledger, name, options="--give-up")),
    )
    return _need("uncertain", row, "may have been accepted", evidence, options)


def _unsaved(db: sqlite3.Connection, row: ReportRow, ledger: Path, strip: str) -> Need:
    attempt = _last_attempt(db, row)
    ended = (attempt.ended_at or attempt.accepted_at) if attempt else row.changed_at
    cost = "unknown cost" if row.spent is None else f"{priced(row.spent)} paid"
    evidence = [_cause(row), f"{cost}; the result was ready {moment(ended)}" if ended else cost]
    options = (
        NeedCommand("download it again, free", command("retry", ledger, _name(row))),
        NeedCommand("see the evidence", command("show", ledger, _name(row))),
    )
    expires = None if ended is None else ended + KEPT_DAYS * 86_400
    return _need("unsaved", row, "paid for, and not saved", evidence, options, expires_at=expires)


_TITLES = {
    Quality.UNCHANGED: "the face did not change",
    Quality.PARTLY: "the face changed in a part only",
    Quality.NO_FACE: "no face was found",
}


def _doubtful(db: sqlite3.Connection, row: ReportRow, ledger: Path, strip: str) -> Need:
    found = deliveries.find(db, row.id)
    facts: dict[str, Any] = found.facts if found else {}
    title = _TITLES.get(Quality(row.quality), row.quality)
    if row.quality == Quality.PARTLY and row.share is not None:
        title = f"the face changed in {row.share * 100:.0f} % of the frames that show it"
    evidence = [clean(words) for words in evidence_words(facts)]
    if row.score is not None:
        evidence.append(f"score {row.score:.2f} of 1")
    evidence.append("cost unknown" if row.spent is None else f"{priced(row.spent)} paid")
    name = _name(row)
    options = (
        NeedCommand("it is good", command("review", ledger, name, options="--accept")),
        NeedCommand("it is not", command("review", ledger, name, options="--reject")),
        NeedCommand("make it again, which costs credits", command("review", ledger, name, options="--redo")),
    )
    return _need("doubtful", row, title, evidence, options, strip=strip, can_be_reviewed=True)


def _need(
    kind: str, row: ReportRow, title: str, evidence: Sequence[str], options: tuple[NeedCommand, ...], **more: Any
) -> Need:
    shown = tuple(NeedCommand(each.when, safe(each.command)) for each in options)
    words = tuple(safe(line) for line in evidence if line)
    return Need(kind, row.id, clean(_name(row)), title, words, shown, **more)


def _name(row: ReportRow) -> str:
    return f"{row.batch}/{row.key}"


def _cause(row: ReportRow) -> str:
    return f"{row.code}: {row.reason}" if row.code and row.reason != row.code else row.reason or row.code


def _last_attempt(db: sqlite3.Connection, row: ReportRow) -> AttemptRow | None:
    found = report_queries.attempts(db, row.id)
    return found[-1] if found else None
