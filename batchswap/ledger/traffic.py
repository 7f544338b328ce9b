"""What a run sent and what it had in flight, over time: the numbers behind `status --plot`."""

import sqlite3

import msgspec

STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
"""Seconds of one bar."""


class Course(msgspec.Struct, frozen=True):
    """A run in steps of `step` seconds from its start (Unix time). Each list has one value a step.

    `requests`: kind -> how many left in each step. Polls that found their task running are "early", the others
    "useful"; everything that is neither a submit nor a poll is "other". `in_flight`: tasks at the API, as far as the
    run knew, at the end of each step.
    """

    run_id: int
    start: float
    step: int
    requests: dict[str, list[int]]
    in_flight: list[int]
    refused: list[int]
    """Answers 429."""


def add(db: sqlite3.Connection, run_id: int, counted: dict[tuple[int, str], int]) -> None:
    """Requests by second (Unix time) and kind."""
    db.executemany(
        "insert into traffic values(?, ?, ?, ?) on conflict do update set n = n + excluded.n",
        [(run_id, at, kind, n) for (at, kind), n in counted.items()],
    )


def last_run(db: sqlite3.Connection) -> int | None:
    """The newest run that has sent anything."""
    row = db.execute("select max(run_id) from traffic").fetchone()
    return None if row[0] is None else int(row[0])


def course(db: sqlite3.Connection, run_id: int, *, most: int = 150) -> Course | None:
    """A run's course in at most `most` steps; None when it has sent nothing."""
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
    submits, early, refused = (by_kind.pop(kind, nothing) for kind in ("submit", "early", "refused_429"))
    polls = by_kind.pop("poll", nothing)
    # The answer to a poll may come in the next step.
    useful = [max(0, all_ - too_early) for all_, too_early in zip(polls, early, strict=True)]
    other = [sum(each) for each in zip(*by_kind.values(), strict=True)] or nothing
    requests = {"submit": submits, "useful": useful, "early": early, "other": other}
    return Course(run_id, first, step, requests, _in_flight(db, run_id, first, step, count), refused)


def _in_flight(db: sqlite3.Connection, run_id: int, start: int, step: int, count: int) -> list[int]:
    """Attempts that were accepted and not yet known to have ended; those of earlier runs that this one collected, too.

    Whatever had ended before the run began is neither in the first sum nor in any step.
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
