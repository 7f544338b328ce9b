"""Count requests: over the time of a run, for `status --plot`, and over all runs, for metrics."""

import sqlite3
from typing import NamedTuple

import msgspec

STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
"""The possible lengths of a step in seconds."""


class Course(msgspec.Struct, frozen=True):
    """A run in steps of `step` seconds from its start (Unix time). Each list has one value per step.

    `requests` maps a kind to the numbers of requests. Polls that found their task running are "early", other polls are
    "useful"; a request that is neither a submit nor a poll is "other". `in_flight` counts the tasks at the API at the
    end of each step, as far as the run knew.
    """

    run_id: int
    start: float
    step: int
    requests: dict[str, list[int]]
    in_flight: list[int]
    refused: list[int]
    """The numbers of answers with status 429."""
    maintenance: list[int] = []
    """The numbers of answers with status 455."""


def add(db: sqlite3.Connection, run_id: int, counted: dict[tuple[int, str], int]) -> None:
    """Add the numbers of requests by second (Unix time) and kind."""
    db.executemany(
        "insert into traffic values(?, ?, ?, ?) on conflict do update set n = n + excluded.n",
        [(run_id, at, kind, n) for (at, kind), n in counted.items()],
    )


REQUESTS, REQUEST_SECONDS, WAIT_SECONDS = "requests", "request-seconds", "wait-seconds"
"""The names of totals. Waiting has neither a kind nor an outcome."""


class Total(NamedTuple):
    """The name of a total, with the kind and the outcome of the requests that it counts."""

    name: str
    kind: str = ""
    outcome: str = ""


def add_totals(db: sqlite3.Connection, counted: dict[Total, float]) -> None:
    """Add to the sums over all runs."""
    db.executemany(
        "insert into totals values(?, ?, ?, ?) on conflict do update set value = value + excluded.value",
        [(*total, value) for total, value in counted.items()],
    )


def totals(db: sqlite3.Connection) -> dict[Total, float]:
    """Return the sums over all runs."""
    rows = db.execute("select name, kind, outcome, value from totals")
    return {Total(*row): value for *row, value in rows}


def last_run(db: sqlite3.Connection) -> int | None:
    """Return the id of the newest run that has sent a request."""
    row = db.execute("select max(run_id) from traffic").fetchone()
    return None if row[0] is None else int(row[0])


def course(db: sqlite3.Connection, run_id: int, *, most: int = 150) -> Course | None:
    """Return a run's course in at most `most` steps; None if it has sent nothing."""
    first, last = db.execute("select min(at), max(at) from traffic where run_id = ?", (run_id,)).fetchone()
    if first is None:
        return None
    step = next((step for step in STEPS if (last - first) // step < most), STEPS[-1])
    count = (last - first) // step + 1
    by_kind: dict[str, list[int]] = {}
    sql = "select kind, (at - ?) / ?, sum(n) from traffic where run_id = ? group by 1, 2"
    for kind, place, n in db.execute(sql, (first, step, run_id)):
        by_kind.setdefault(kind, [0] * count)[place] = n
    nothing = [0] * count
    kinds = ("submit", "early", "refused_429", "maintenance_455")
    submits, early, refused, maintenance = (by_kind.pop(kind, nothing) for kind in kinds)
    polls = by_kind.pop("poll", nothing)
    # A poll and its answer may fall into different steps.
    useful = [max(0, all_ - too_early) for all_, too_early in zip(polls, early, strict=True)]
    other = [sum(each) for each in zip(*by_kind.values(), strict=True)] or nothing
    requests = {"submit": submits, "useful": useful, "early": early, "other": other}
    return Course(run_id, first, step, requests, _in_flight(db, run_id, first, step, count), refused, maintenance)


def _in_flight(db: sqlite3.Connection, run_id: int, start: int, step: int, count: int) -> list[int]:
    """Count attempts that were accepted and not known to have ended, including those of earlier runs.

    An attempt that ended before the run began counts in no step.
    """
    began, over = [0] * (count + 1), [0] * (count + 1)
    sql = (
        "select max(0, cast((coalesce(accepted_at, submitted_at) - :start) / :step as integer)), 1, count(*)"
        " from attempts where remote_id is not null and (run_id = :run or ended_at >= :start)"
        " and submitted_at <= :end and coalesce(ended_at, :end) >= :start group by 1"
        " union all select cast((ended_at - :start) / :step as integer), -1, count(*)"
        " from attempts where remote_id is not null and ended_at between :start and :end group by 1"
    )
    values = {"start": start, "step": step, "run": run_id, "end": start + step * count}
    for place, sign, n in db.execute(sql, values):
        (began if sign > 0 else over)[min(place, count)] += n
    found, now = [], 0
    for new, gone in zip(began[:count], over[:count], strict=True):
        now += new - gone
        found.append(now)
    return found
