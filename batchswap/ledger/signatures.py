"""Labels and signatures of results: the SHA-256 of what was received, and of the file on the disk.

A file is signed before the ledger has its new SHA-256. After a crash in between, the file itself shows what it is.
"""

import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from batchswap.ledger.rows import IS_WITHDRAWN, marks
from batchswap.ledger.transitions import Stamp, log
from batchswap.states import Quality

SIGNED, LABELLED = "signed", "labelled"
"""The events of a signature, and of a label alone."""


class SignedResult(msgspec.Struct, frozen=True):
    """The SHA-256 of a result as it was received, and the SHA-256 and size of the file that takes its place.

    `is_signed` False: the file is only labelled.
    """

    received: str
    sha256: str
    size: int
    is_signed: bool = True


def record(db: sqlite3.Connection, stamp: Stamp, task_id: int, found: SignedResult) -> bool:
    """Record that the file of a task is labelled or signed. Return whether the task still has this result."""
    changed = db.execute(
        "update tasks set sha256 = ?, size = ? where id = ? and (sha256 in (?, ?) or exists"
        " (select 1 from deliveries d where d.task_id = tasks.id and d.received_sha256 = ?))",
        (found.sha256, found.size, task_id, found.received, found.sha256, found.received),
    ).rowcount
    if changed != 1:
        return False
    db.execute(
        "insert into deliveries(task_id, batch_id, sha256, quality, evidence, signed, received_sha256, delivered_at)"
        f" select id, batch_id, ?, '{Quality.UNKNOWN}', cast('{{}}' as blob), ?, ?, ? from tasks where id = ?"
        " on conflict(task_id) do update set signed = excluded.signed,"
        " received_sha256 = excluded.received_sha256",
        (found.received, found.is_signed, found.received, stamp.at, task_id),
    )
    event, detail = SIGNED if found.is_signed else LABELLED, f"SHA-256 {found.sha256}, received as {found.received}"
    log(db, stamp, event, task_id=task_id, detail=detail)
    return True


def find(db: sqlite3.Connection, task_id: int) -> SignedResult | None:
    """Return the record of a task's signed result."""
    found = find_record(db, task_id)
    return found if found is not None and found.is_signed else None


def find_record(db: sqlite3.Connection, task_id: int) -> SignedResult | None:
    """Return the record of a task's labelled or signed result."""
    sql = (
        "select d.received_sha256, t.sha256, t.size, d.signed from deliveries d join tasks t on t.id = d.task_id"
        " where d.task_id = ? and d.received_sha256 <> ''"
    )
    row = db.execute(sql, (task_id,)).fetchone()
    if row is None:
        return None
    received, sha256, size, is_signed = row
    return SignedResult(received, sha256, size, bool(is_signed))


def unsigned(db: sqlite3.Connection, batches: Iterable[str] | None = None) -> Iterator[int]:
    """Yield the ids of done tasks whose result is not signed, not rejected and not withdrawn, in order."""
    names = None if batches is None else tuple(batches)
    where = "" if names is None else f"and t.batch_id in (select id from batches where name in ({marks(names)}))"
    sql = (
        "select t.id from tasks t left join deliveries d on d.task_id = t.id where t.state = 'done'"
        " and t.file is not null and not coalesce(d.signed, 0) and coalesce(d.review, '') <> 'rejected'"
        f" and not {IS_WITHDRAWN} {where}"
        " order by t.id"
    )
    yield from (task_id for (task_id,) in db.execute(sql, names or ()).fetchall())
