"""Data that ticks pass to the next one: the series that shares a budget, the polls, and the refusals in a row."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from batchswap.errors import Ending
from batchswap.settings import Mode
from batchswap.states import TO_DO

MODES: tuple[Mode, ...] = ("submit", "tick")
"""The modes of runs that belong to a series: they leave while tasks are in progress."""

LATE = 60.0
"""Seconds. A media URL that fails at a lower age has not expired: its result is late."""

RefusalCount = tuple[str, int]
"""A code, and the number of equal failures in a row."""


class PollMark(msgspec.Struct, frozen=True):
    """Facts that earlier ticks learned about a running task. Times are Unix seconds.

    `seen_at`: when it was last found running. The API did not know it in the last `missing` polls, since
    `missing_since`.
    """

    seen_at: float | None = None
    missing: int = 0
    missing_since: float | None = None


def pack(batches: Sequence[str]) -> str:
    """Return the batches of a run as they are stored."""
    return msgspec.json.encode(sorted(batches)).decode()


def unfinished_series(db: sqlite3.Connection, batches: Sequence[str]) -> int | None:
    """Return the series of the last tick of these batches; None if there was none, or nothing is left to do.

    A run of any mode may have done the rest. A run that was killed has left work. Work of other batches does not count.
    """
    sql = "select series from runs where mode in ('submit', 'tick') and batches = ? order by id desc limit 1"
    tick = db.execute(sql, (pack(batches),)).fetchone()
    if tick is None:
        return None
    sql = "select summary from runs where batches = ? order by id desc limit 1"
    (text,) = db.execute(sql, (pack(batches),)).fetchone()
    summary = msgspec.json.decode(text) if text else None
    is_over = summary is not None and (summary["finished"] or not any(summary["counts"][state] for state in TO_DO))
    return None if is_over else int(tick[0])


def series_of(db: sqlite3.Connection, run_id: int) -> int:
    """Return the series of a run."""
    return int(db.execute("select series from runs where id = ?", (run_id,)).fetchone()[0])


def last_ending(db: sqlite3.Connection, batches: Sequence[str], before: int | None = None) -> Ending | None:
    """Return how the last tick of these batches ended, or the last one before a run; None if there was none."""
    sql = (
        "select exit_code, summary from runs where mode in ('submit', 'tick') and batches = ?"
        " and id < coalesce(?, id + 1) order by id desc limit 1"
    )
    found = db.execute(sql, (pack(batches), before)).fetchone()
    return None if found is None else Ending(found[0], msgspec.json.decode(found[1])["reason"] if found[1] else None)


def note_running(db: sqlite3.Connection, attempt_id: int, at: float) -> None:
    """Record that a poll at this Unix time found a task running."""
    db.execute("insert or replace into polls(attempt_id, seen_at) values(?, ?)", (attempt_id, at))


def note_missing(db: sqlite3.Connection, attempt_id: int, missing: int, since: float) -> None:
    """Record how often in a row, and since which Unix time, the API did not know a task."""
    db.execute(
        "insert into polls(attempt_id, missing, missing_since) values(?, ?, ?) on conflict(attempt_id) do update set"
        " missing = excluded.missing, missing_since = excluded.missing_since",
        (attempt_id, missing, since),
    )


def poll_marks(db: sqlite3.Connection) -> dict[int, PollMark]:
    """Return the marks of running tasks, by attempt."""
    sql = (
        "select p.attempt_id, p.seen_at, p.missing, p.missing_since from polls p"
        " join attempts a on a.id = p.attempt_id where a.state = 'accepted'"
    )
    return {attempt_id: PollMark(*rest) for attempt_id, *rest in db.execute(sql)}


def forget_ended(db: sqlite3.Connection) -> None:
    """Remove the marks of tasks that have ended."""
    db.execute(
        "delete from polls where not exists (select 1 from attempts a where a.id = attempt_id and a.state = 'accepted')"
    )


def note_refusals(db: sqlite3.Connection, run_id: int | None, counts: Mapping[str, RefusalCount]) -> None:
    """Record the failures in a row at the end of a tick."""
    packed = msgspec.json.encode(counts).decode() if counts else ""
    db.execute("update runs set refusals = ? where id = ?", (packed, run_id))


def refusals(db: sqlite3.Connection, run_id: int | None) -> dict[str, RefusalCount]:
    """Return the failures in a row with which the tick before this one ended, in the same series."""
    sql = (
        "select refusals from runs where series = (select series from runs where id = :id) and id < :id"
        " and ended_at is not null order by id desc limit 1"
    )
    found = db.execute(sql, {"id": run_id}).fetchone()
    return msgspec.json.decode(found[0], type=dict[str, RefusalCount]) if found and found[0] else {}


def note_url_life(db: sqlite3.Connection, task_id: int, at: float) -> None:
    """Record that the media URL of a task has expired at this Unix time, if no other URL had a shorter life."""
    since = db.execute("select changed_at from tasks where id = ?", (task_id,)).fetchone()[0]
    age = at - since if since is not None else 0.0
    if age >= LATE and ((shortest := url_life(db)) is None or age < shortest):
        db.execute("insert or replace into meta values('url_life', ?)", (msgspec.json.encode(age),))


def url_life(db: sqlite3.Connection) -> float | None:
    """Return the shortest life in seconds of a media URL that has expired; None while none has."""
    found = db.execute("select value from meta where name = 'url_life'").fetchone()
    return None if found is None else msgspec.json.decode(found[0], type=float)
