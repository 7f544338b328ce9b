"""The releases that rows name: their evidence, what was made under them, and which were withdrawn.

The consent of a task is the reference in its row, as of the newest enrolment. A task whose row has got other inputs
keeps the reference of its attempt until that attempt has ended.
"""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from batchswap.ledger.budgets import local_day
from batchswap.ledger.queries import STORED, STORED_FROM, Stored
from batchswap.ledger.rows import marks, one_of
from batchswap.ledger.transitions import Stamp, log, move
from batchswap.states import UNDONE, Event, State

WITHDRAWN = "release-withdrawn"
"""The event of a withdrawn release, and the code of the tasks that it took out of the queue."""
RESTORED = "release-restored"
DELETED = "result-deleted"
"""The event of a task whose files were deleted, because its release was withdrawn."""


class Evidence(msgspec.Struct, frozen=True):
    """The file that proves a release: its SHA-256, size, and time of the last change in nanoseconds."""

    sha256: str
    size: int
    modified: int


def evidence(db: sqlite3.Connection, reference: str) -> Evidence | None:
    """Return the evidence that the newest enrolment found; None if there is none."""
    sql = "select sha256, size, modified from releases where reference = ? and sha256 is not null"
    row = db.execute(sql, (reference,)).fetchone()
    return None if row is None else Evidence(*row)


def note(db: sqlite3.Connection, stamp: Stamp, reference: str, found: Evidence | None) -> None:
    """Record the evidence of a release that rows name, and log it if it is new."""
    before = evidence(db, reference)
    values = (None, None, None) if found is None else (found.sha256, found.size, found.modified)
    db.execute(
        "insert into releases(reference, sha256, size, modified) values(?, ?, ?, ?) on conflict do update set"
        " sha256 = excluded.sha256, size = excluded.size, modified = excluded.modified",
        (reference, *values),
    )
    if (before.sha256 if before else None) != values[0]:
        log(db, stamp, "release-evidence", detail=f"{reference}: {values[0] or 'none'}")


def withdrawn(db: sqlite3.Connection) -> dict[str, str]:
    """Return the withdrawn references, each with the local day."""
    sql = "select reference, withdrawn_at from releases where withdrawn_at is not null"
    return {reference: local_day(at) for reference, at in db.execute(sql)}


def withdrawn_at(db: sqlite3.Connection, reference: str) -> float | None:
    """Return when a release was withdrawn (Unix time); None if it was not."""
    row = db.execute("select withdrawn_at from releases where reference = ?", (reference,)).fetchone()
    return None if row is None else row[0]


def references(db: sqlite3.Connection) -> list[str]:
    """Return every reference that the ledger knows."""
    sql = (
        "select consent from tasks where consent <> '' union select consent from former_results where consent <> ''"
        " union select reference from releases"
    )
    return [reference for (reference,) in db.execute(sql)]


def withdraw(db: sqlite3.Connection, stamp: Stamp, reference: str) -> int:
    """Mark a release as withdrawn, and cancel its queued tasks. Return their number. It is safe to repeat this."""
    if withdrawn_at(db, reference) is None:
        db.execute(
            "insert into releases(reference, withdrawn_at) values(?, ?)"
            " on conflict do update set withdrawn_at = excluded.withdrawn_at",
            (reference, stamp.at),
        )
        log(db, stamp, WITHDRAWN, detail=reference)
    queued = db.execute("select id from tasks where consent = ? and state = 'queued'", (reference,)).fetchall()
    for (task_id,) in queued:
        reason = "its release was withdrawn"
        move(db, stamp, task_id, State.QUEUED, Event.CANCELLED, code=WITHDRAWN, reason=reason)
    return len(queued)


def restore(db: sqlite3.Connection, stamp: Stamp, reference: str) -> bool:
    """Take a withdrawal back. Return whether there was one."""
    sql = "update releases set withdrawn_at = null where reference = ? and withdrawn_at is not null"
    is_changed = db.execute(sql, (reference,)).rowcount == 1
    if is_changed:
        log(db, stamp, RESTORED, detail=reference)
    return is_changed


def states(db: sqlite3.Connection, reference: str) -> dict[str, int]:
    """Count the tasks under a release by state."""
    found = dict.fromkeys(map(str, State), 0)
    sql = "select state, count(*) from tasks where consent = ? group by state"
    found.update(db.execute(sql, (reference,)).fetchall())
    return found


def results(db: sqlite3.Connection, reference: str) -> Iterator[Stored]:
    """Yield the results of tasks under a release."""
    sql = (
        f"select {STORED} from {STORED_FROM.format('')} where t.consent = ? and t.state = 'done' and t.file is not null"
        " order by t.id"
    )
    for row in db.execute(sql, (reference,)):
        yield Stored(*row)


def unsaved(db: sqlite3.Connection, reference: str) -> list[tuple[int, str, str]]:
    """Return (task id, "batch/key", output) of tasks that ended without a result: a part of one may be on the disk."""
    sql = (
        "select t.id, b.name || '/' || t.key, t.output from tasks t join batches b on b.id = t.batch_id"
        f" where t.consent = ? and {one_of('t.state', UNDONE)} and t.attempts > 0 order by t.id"
    )
    return db.execute(sql, (reference,)).fetchall()


def folders(db: sqlite3.Connection) -> list[str]:
    """Return the folders of results that runs have used."""
    return [out for (out,) in db.execute("select distinct out from runs where out <> ''")]


def former_results(db: sqlite3.Connection, reference: str) -> Iterator[Stored]:
    """Yield the results that were made under a release, and that their tasks have lost."""
    sql = (
        "select f.task_id, b.name, t.key, f.file, f.size, f.sha256, f.out, f.stored_at, t.output, 0, 1"
        " from former_results f join tasks t on t.id = f.task_id join batches b on b.id = t.batch_id"
        " where f.consent = ? order by f.id"
    )
    for row in db.execute(sql, (reference,)):
        yield Stored(*row)


def other_owner(db: sqlite3.Connection, reference: str, file: str, sha256: str) -> str | None:
    """Return "batch/key" of a result that has this file, too, and is not under this release."""
    sql = (
        "select b.name || '/' || t.key from tasks t indexed by tasks_output join batches b on b.id = t.batch_id"
        " where t.output = ? and t.file = t.output and t.state = 'done' and t.sha256 = ?"
        " and t.consent <> ? limit 1"
    )
    row = db.execute(sql, (file, sha256, reference)).fetchone()
    return None if row is None else str(row[0])


def note_deleted(db: sqlite3.Connection, stamp: Stamp, task_id: int, sha256: str, files: Sequence[str]) -> None:
    """Log which files of a result were deleted. Without any, log once that there were none."""
    sql = "select 1 from events where task_id = ? and event = ? limit 1"
    if files or db.execute(sql, (task_id, DELETED)).fetchone() is None:
        log(db, stamp, DELETED, task_id=task_id, detail="; ".join(files) or "there was no file")
    is_current = "exists (select 1 from tasks t where t.id = task_id and t.sha256 = ?)"
    db.execute(f"update deliveries set strip = '' where task_id = ? and {is_current}", (task_id, sha256))


def strips_of_others(db: sqlite3.Connection, reference: str) -> set[str]:
    """Return the pictures of results that are not under this release."""
    sql = "select d.strip from deliveries d join tasks t on t.id = d.task_id where d.strip <> '' and t.consent <> ?"
    return {strip for (strip,) in db.execute(sql, (reference,))}


class ReleaseUse(msgspec.Struct, frozen=True):
    """What was made under one release. `reference` "": rows without consent."""

    reference: str
    tasks: int
    results: int
    signed: int
    withdrawn_at: float | None = None
    evidence_sha256: str | None = None


def uses(db: sqlite3.Connection, batches: Sequence[int] | None = None) -> list[ReleaseUse]:
    """Return what was made under each release, by these batches or all of them: the largest number of tasks first."""
    where = "" if batches is None else f"where t.batch_id in ({marks(batches)})"
    sql = (
        "select t.consent, count(*) as n, sum(t.state = 'done'), sum(t.state = 'done' and coalesce(d.signed, 0)),"
        " r.withdrawn_at, r.sha256 from tasks t left join deliveries d on d.task_id = t.id"
        f" left join releases r on r.reference = t.consent {where} group by t.consent order by n desc, t.consent"
    )
    return [ReleaseUse(*row) for row in db.execute(sql, batches or ())]
