"""Select the queued tasks that a run submits, in order, and count the others."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from batchswap.ledger.rows import TASK_COLUMNS, TASK_FROM, task
from batchswap.settings import Settings
from batchswap.tasks import Task


class Selection(msgspec.Struct, frozen=True):
    """The part of the rows, as of their newest enrolment, that a run submits.

    `limit` counts all matching rows of the manifest, finished or not, so that a repeated command submits no others.
    """

    batches: tuple[str, ...] = ()
    text: str = ""
    tags: tuple[str, ...] = ()
    limit: int | None = None


def selection_of(settings: Settings) -> Selection:
    """Return the selection that the options of a run make."""
    return Selection(settings.batches, settings.filter, settings.tags, settings.limit)


def _selected(selection: Selection) -> tuple[str, list[Any]]:
    """Return a condition on `t` with its parameters, without the limit."""
    clause, values = "t.generation = b.generation", []
    if selection.text:
        clause += " and (instr(t.key, ?) or instr(t.target, ?) or instr(t.face, ?) or instr(t.output, ?))"
        values += [selection.text] * 4
    for tag in selection.tags:
        clause += " and instr(';' || t.tags || ';', ';' || ? || ';')"
        values.append(tag)
    return clause, values


def _last_position(db: sqlite3.Connection, batch: str, selection: Selection) -> int:
    """Return the position of the last row within --limit; without a limit, a number beyond all rows."""
    if selection.limit is None:
        return 2**62
    if selection.limit == 0:
        return -1
    clause, values = _selected(selection)
    sql = f"select t.position from {TASK_FROM} where b.name = ? and {clause} order by t.position limit 1 offset ?"
    row = db.execute(sql, (batch, *values, selection.limit - 1)).fetchone()
    return 2**62 if row is None else int(row[0])


def _ends(db: sqlite3.Connection, selection: Selection) -> list[tuple[str, int]]:
    return [(batch, _last_position(db, batch, selection)) for batch in selection.batches]


class Queue:
    """The queued tasks of a selection in the order of the manifests, read page by page."""

    PAGE = 256

    def __init__(self, db: sqlite3.Connection, selection: Selection) -> None:
        self._db, self._selection = db, selection
        self._ends = _ends(db, selection)

    def pages(self) -> Iterator[list[Task]]:
        """Yield each task at most once. The caller keeps the tasks that are queued again later."""
        clause, values = _selected(self._selection)
        sql = (
            f"select {TASK_COLUMNS}, t.position from {TASK_FROM}"
            " where t.batch_id = (select id from batches where name = ?)"
            f" and t.state = 'queued' and t.position > ? and t.position <= ? and t.reuses is null and {clause}"
            " order by t.position limit ?"
        )
        for batch, end in self._ends:
            last = -1
            while rows := self._db.execute(sql, (batch, last, end, *values, self.PAGE)).fetchall():
                last = rows[-1][-1]
                yield [task(row[:-1]) for row in rows]


def waiting(db: sqlite3.Connection, selection: Selection) -> list[Task]:
    """Return the queued tasks of a selection that wait for another task's result."""
    clause, values = _selected(selection)
    sql = (
        f"select {TASK_COLUMNS} from batches b cross join tasks t indexed by tasks_reusing on t.batch_id = b.id"
        " cross join sources s on s.id = t.source_id where b.name = ? and t.state = 'queued' and t.reuses is not null"
        f" and t.position <= ? and {clause} order by t.id"
    )
    return [task(row) for batch, end in _ends(db, selection) for row in db.execute(sql, (batch, end, *values))]


def left_out(db: sqlite3.Connection, selection: Selection) -> int:
    """Count the queued tasks that a run with this selection does not submit.

    These are orphans, rows outside of the selection, and tasks that wait for another task's result.
    """
    clause, values = _selected(selection)
    sql = (
        "select coalesce((select n from tallies where batch_id = o.id and state = 'queued'), 0) - (select count(*)"
        " from batches b cross join tasks t indexed by tasks_queued on t.batch_id = b.id"
        f" where b.id = o.id and t.state = 'queued' and t.position <= ? and t.reuses is null and {clause})"
        " from batches o where o.name = ?"
    )
    return sum(db.execute(sql, (end, *values, batch)).fetchone()[0] for batch, end in _ends(db, selection))
