"""The findings about results: whether each one is a swap, what shows it, and the user's review."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger.queries import Stored
from batchswap.ledger.rows import marks, one_of
from batchswap.ledger.transitions import Stamp, log
from batchswap.states import DOUBTFUL, Event, Quality, Review, State
from batchswap.tasks import Task


class Delivered(msgspec.Struct, frozen=True):
    """The finding about one result, the file with this SHA-256.

    `share`: the part of the frames with a face in which it is swapped; `score`: from 0 to 1. `strip` is the name of a
    picture below `pictures_folder`, "" if there is none.
    """

    sha256: str
    quality: Quality
    share: float | None = None
    score: float | None = None
    evidence: bytes = b"{}"
    strip: str = ""
    review: Review = Review.NONE
    note: str = ""
    signed: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """Return the evidence."""
        found = msgspec.json.decode(self.evidence)
        return found if isinstance(found, dict) else {}


_COLUMNS = "sha256, quality, share, score, evidence, strip, review, note, signed"
_IS_DOUBTFUL = f"{one_of('d.quality', DOUBTFUL)} and d.review = ''"


def pictures_folder(ledger: Path) -> Path:
    """Return the folder of the pictures that compare targets and results. It is next to the ledger."""
    return Path(f"{ledger}-pictures")


def record(db: sqlite3.Connection, stamp: Stamp, task_id: int, found: Delivered) -> None:
    """Record the finding about a task's result. An earlier one is replaced; a review of the same file is kept."""
    db.execute(
        "insert into deliveries(task_id, batch_id, sha256, quality, share, score, evidence, strip, signed,"
        " delivered_at) select id, batch_id, ?, ?, ?, ?, ?, ?, ?, ? from tasks where id = ? and true"
        " on conflict(task_id) do update set quality = excluded.quality, share = excluded.share,"
        " score = excluded.score, evidence = excluded.evidence, strip = excluded.strip, signed = excluded.signed,"
        " review = iif(sha256 = excluded.sha256, review, ''), note = iif(sha256 = excluded.sha256, note, ''),"
        " sha256 = excluded.sha256, delivered_at = excluded.delivered_at",
        (
            *(found.sha256, found.quality, found.share, found.score, found.evidence, found.strip, found.signed),
            *(stamp.at, task_id),
        ),
    )


def find(db: sqlite3.Connection, task_id: int) -> Delivered | None:
    """Return the finding about a task's result."""
    row = db.execute(f"select {_COLUMNS} from deliveries where task_id = ?", (task_id,)).fetchone()
    return None if row is None else _delivered(row)


def find_same(db: sqlite3.Connection, item: Task, sha256: str) -> Delivered | None:
    """Return the finding about this file, or the one it was signed from, for a task with the same inputs.

    It is returned without the review and the signature of the other task.
    """
    columns = ", ".join(f"d.{name.strip()}" for name in _COLUMNS.split(","))
    sql = (
        f"select {columns} from tasks t indexed by tasks_digest join deliveries d on d.task_id = t.id"
        " where t.digest = ? and (t.paid > 0 or t.reuses is not null) and ? in (d.sha256, t.sha256) limit 1"
    )
    row = db.execute(sql, (item.digest, sha256)).fetchone()
    if row is None:
        return None
    return msgspec.structs.replace(_delivered(row), review=Review.NONE, note="", signed=False)


def _delivered(row: tuple[Any, ...]) -> Delivered:
    sha256, quality, share, score, evidence, strip, review, note, signed = row
    return Delivered(sha256, Quality(quality), share, score, bytes(evidence), strip, Review(review), note, bool(signed))


def qualities(db: sqlite3.Connection, batches: Iterable[str] | None = None, *, done: int) -> dict[str, int]:
    """Count the `done` results of these batches, or of all, by quality, with the names that the JSON has."""
    found = dict.fromkeys(map(str, Quality), 0)
    where, values = _in(batches)
    sql = f"select d.quality, count(*) from deliveries d {where} group by d.quality"
    found.update(db.execute(sql, values).fetchall())
    found[Quality.UNKNOWN] = max(0, done - sum(n for name, n in found.items() if name != Quality.UNKNOWN))
    return found


def _in(batches: Iterable[str] | None) -> tuple[str, tuple[str, ...]]:
    if batches is None:
        return "where true", ()
    names = tuple(batches)
    return f"where d.batch_id in (select id from batches where name in ({marks(names)}))", names


class DoubtfulResult(msgspec.Struct, frozen=True):
    """A result that the user should look at. `name` is batch/key."""

    name: str
    quality: Quality
    share: float | None
    score: float | None

    @property
    def words(self) -> str:
        """Return the quality as it is shown."""
        return quality_words(self.quality, self.share)


def quality_words(quality: Quality, share: float | None) -> str:
    """Return a quality such as "partly (62 %)"."""
    return f"partly ({share * 100:.0f} %)" if quality is Quality.PARTLY and share is not None else quality.words


def doubtful(db: sqlite3.Connection, most: int) -> list[DoubtfulResult]:
    """Return results that the user should look at, in the order of the tasks."""
    sql = (
        "select b.name || '/' || t.key, d.quality, d.share, d.score from deliveries d join tasks t on t.id = d.task_id"
        f" join batches b on b.id = t.batch_id where {_IS_DOUBTFUL} order by t.id limit ?"
    )
    return [DoubtfulResult(name, Quality(quality), *rest) for name, quality, *rest in db.execute(sql, (most,))]


def count_doubtful(db: sqlite3.Connection, batches: Iterable[str] | None = None) -> int:
    """Count the results that the user should look at."""
    where, values = _in(batches)
    return int(db.execute(f"select count(*) from deliveries d {where} and {_IS_DOUBTFUL}", values).fetchone()[0])


def count_signed(db: sqlite3.Connection, batches: Iterable[str] | None = None) -> int:
    """Count the signed results."""
    where, values = _in(batches)
    return int(db.execute(f"select count(*) from deliveries d {where} and d.signed", values).fetchone()[0])


def count_unsaved(db: sqlite3.Connection, batches: Iterable[str] | None = None) -> int:
    """Count the failed tasks whose result is at the API: it is paid for, and its download failed."""
    names = None if batches is None else tuple(batches)
    where = "" if names is None else f"and t.batch_id in (select id from batches where name in ({marks(names)}))"
    sql = (
        "select count(*) from tasks t indexed by tasks_failed where t.state = 'failed' and"
        " (select e.event from events e where e.task_id = t.id and e.state <> '' order by e.id desc limit 1)"
        f" = '{Event.UNSAVED}' {where}"
    )
    return int(db.execute(sql, names or ()).fetchone()[0])


def needing(db: sqlite3.Connection, batches: Iterable[str] | None, counts: dict[str, int]) -> int:
    """Count the tasks that need the user: uncertain, paid for and not saved, or doubtful. `counts` is by state."""
    names = None if batches is None else tuple(batches)
    return counts[State.UNCERTAIN] + count_unsaved(db, names) + count_doubtful(db, names)


def review(db: sqlite3.Connection, stamp: Stamp, task_id: int, given: Review, note: str = "") -> None:
    """Record and log the user's judgement of a result. A result that was not examined gets a row without a finding."""
    db.execute(
        "insert into deliveries(task_id, batch_id, sha256, quality, evidence, review, note, delivered_at)"
        f" select id, batch_id, coalesce(sha256, ''), '{Quality.UNKNOWN}', cast('{{}}' as blob), ?, ?, ? from tasks"
        " where id = ? on conflict(task_id) do update set review = excluded.review, note = excluded.note",
        (given, note, stamp.at, task_id),
    )
    log(db, stamp, f"review-{given or 'reset'}", task_id=task_id, detail=note)


def refile(db: sqlite3.Connection, task_id: int, known: Stored, file: str) -> bool:
    """Record the new name of a result's file below its folder. Return whether the task still has this result."""
    sql = "update tasks set file = ? where id = ? and state = 'done' and file = ? and sha256 = ?"
    return db.execute(sql, (file, task_id, known.file, known.sha256)).rowcount == 1
