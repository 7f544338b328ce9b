"""Which queued tasks a run takes, in which order, and how many it leaves where they are."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from batchswap.ledger.rows import TASK_COLUMNS, TASK_FROM, task
from batchswap.settings import Settings
from batchswap.tasks import Task


class Selection(msgspec.Struct, frozen=True):
    """Which rows of a batch a run submits: those of the newest enrolment, and of these a part.

    `limit` counts rows of the manifest that match, finished or not, so that the same command converges.
    """

    batches: tuple[str, ...] = ()
    text: str = ""
    tags: tuple[str, ...] = ()
    limit: int | None = None


def selection_of(settings: Settings) -> Selection:
    """What the options of a run select."""
    return Selection(settings.batches, settings.filter, settings.tags, settings.limit)


def _selected(selection: Selection) -> tuple[str, list[Any]]:
    """A where-clause over `t` and its parameters, without the limit."""
    clause, values = "t.generation = b.generation", []
    if selection.text:
        clause += " and (instr(t.key, ?) or instr(t.target, ?) or instr(t.face, ?) or instr(t.output, ?))"
        values += [selection.text] * 4
    for tag in selection.tags:
        clause += " and instr(';' || t.tags || ';', ';' || ? || ';')"
        values.append(tag)
    return clause, values


def _last_position(db: sqlite3.Connection, batch: str, selection: Selection) -> int:
    """The position of the last row that --limit lets in; without a limit, beyond every row."""
    if selection.limit is None:
        return 2**62
    if selection.limit == 0:
        return -1
    clause, values = _selected(selection)
    sql = f"select t.position from {TASK_FROM} where b.name = ? and {clause} order by t.position limit 1 offset ?"
    row = db.execute(sql, (batch, *values, selection.limit - 1)).fetchone()
    return 2**62 if row is None else int(row[0])


class Queue:
    """The queued tasks of a selection, in the manifests' order, read a page at a time."""

    PAGE = 256

    def __init__(self, db: sqlite3.Connection, selection: Selection) -> None:
        self._db, self._selection = db, selection
        self._ends = {batch: _last_position(db, batch, selection) for batch in selection.batches}

    def pages(self) -> Iterator[list[Task]]:
        """Each task at most once. What comes back to the queue later is the caller's to remember."""
        clause, values = _selected(self._selection)
        sql = (
            f"select {TASK_COLUMNS}, t.position from {TASK_FROM}"
            " where t.batch_id = (select id from batches where name = ?)"
            f" and t.state = 'queued' and t.position > ? and t.position <= ? and t.reuses is null and {clause}"
            " order by t.position limit ?"
        )
        for batch, end in self._ends.items():
            last = -1
            while rows := self._db.execute(sql, (batch, last, end, *values, self.PAGE)).fetchall():
                last = rows[-1][-1]
                yield [task(row[:-1]) for row in rows]


def waiting(db: sqlite3.Connection, selection: Selection) -> list[Task]:
    """The queued tasks of a selection that take another task's result."""
    clause, values = _selected(selection)
    sql = (
        f"select {TASK_COLUMNS} from batches b cross join tasks t indexed by tasks_reusing on t.batch_id = b.id"
        " cross join sources s on s.id = t.source_id where b.name = ? and t.state = 'queued' and t.reuses is not null"
        f" and t.position <= ? and {clause} order by t.id"
    )
    ends = [(batch, _last_position(db, batch, selection)) for batch in selection.batches]
    return [task(row) for batch, end in ends for row in db.execute(sql, (batch, end, *values))]


def left_out(db: sqlite3.Connection, selection: Selection) -> int:
    """Queued tasks that no run with this selection submits: orphans, what it leaves out, what waits for a result."""
    clause, values = _selected(selection)
    sql = (
        "select coalesce((select n from tallies where batch_id = o.id and state = 'queued'), 0) - (select count(*)"
        " from batches b cross join tasks t indexed by tasks_queued on t.batch_id = b.id"
        f" where b.id = o.id and t.state = 'queued' and t.position <= ? and t.reuses is null and {clause})"
        " from batches o where o.name = ?"
    )
    ends = [(batch, _last_position(db, batch, selection)) for batch in selection.batches]
    return sum(db.execute(sql, (end, *values, batch)).fetchone()[0] for batch, end in ends)
