"""A ledger and the submission logs: whether the ledger knows every attempt that the logs say is its own."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchswap.errors import IdTaken, LostRace
from batchswap.ledger import operator_actions, transitions
from batchswap.ledger.queries import by_ref
from batchswap.ledger.submission_log import entries
from batchswap.ledger.submission_log.attempts import Gathered
from batchswap.ledger.submission_log.entries import LogEntry, What
from batchswap.ledger.submission_log.position import Marks, Position, ledger_id, marks, set_marks
from batchswap.ledger.transitions import Stamp
from batchswap.states import UNANSWERED, State


class Comparison:
    """What the logs say beyond the marks of a ledger. `missing`: attempts that it does not know.

    `answers`: to attempts of which it knows no end. `ends`: the marks that it may have when nothing is missing.
    `problems`: what keeps a log from being compared, in words; `gone`: the keys whose log was there once.
    """

    def __init__(self) -> None:
        self.missing = Gathered()
        self.answers: dict[str, LogEntry] = {}
        self.ends: Marks = {}
        self.gone: list[str] = []
        self.problems: list[str] = []


@contextmanager
def compared(db: sqlite3.Connection, folder: Path) -> Iterator[Comparison]:
    """Changes nothing. Of a log that has not grown since it was marked, nothing is read."""
    found = Comparison()
    try:
        _compare(db, folder, found)
        yield found
    finally:
        found.missing.close()


def _compare(db: sqlite3.Connection, folder: Path, found: Comparison) -> None:
    known = marks(db)
    try:
        logs = entries.logs_in(folder)
    except OSError as error:
        found.problems.append(f"{folder} cannot be read ({error.strerror})")
        return
    for owner, mark in known.items():
        if mark.file not in logs.get(owner, []):
            found.problems.append(f"{folder / mark.file} is gone")
            found.gone.append(owner)
    for owner, names in logs.items():
        start = known.get(owner, Position("", 0))
        for name in names:
            if name >= start.file:
                try:
                    end = _read(db, folder / name, owner, start.offset if name == start.file else 0, found)
                except OSError as error:
                    found.problems.append(f"{folder / name} cannot be read ({error.strerror})")
                else:
                    found.ends[owner] = Position(name, end)


def _read(db: sqlite3.Connection, path: Path, owner: str, start: int, found: Comparison) -> int:
    """Returns where the last whole line ends."""
    own = ledger_id(db)
    with entries.opened(path) as (handle, size):
        if size < start:
            found.problems.append(f"{path} is shorter than it was")
            start = 0
        for some, behind in entries.read(handle, start, size, own.encode()):
            for entry in some:
                if entry.ledger == own and entry.ref:
                    _take(db, entry, owner, found)
            start = behind
    return start


def _take(db: sqlite3.Connection, entry: LogEntry, owner: str, found: Comparison) -> None:
    sql = "select state from attempts where ref = ?1 union all select 'logged' from logged where ref = ?1"
    row = db.execute(sql, (entry.ref,)).fetchone()
    if row is None:
        found.missing.take(entry, owner)
    elif row[0] in UNANSWERED and entry.what in (What.ACCEPTED, What.REFUSED):
        found.answers[entry.ref] = entry


def catch_up(db: sqlite3.Connection, stamp: Stamp, found: Comparison) -> int:
    """Take over what the logs know of this ledger's own attempts, and mark that. Returns how many were settled.

    The caller holds the lock and a transaction, and nothing is missing.
    """
    settled = 0
    if found.answers:
        transitions.recover(db, stamp)
    for ref, entry in found.answers.items():
        known = by_ref(db, ref)
        if known is None or known[0].state is not State.UNCERTAIN or known[0].attempts != known[1].number:
            continue
        try:
            if entry.what == What.ACCEPTED:
                transitions.attached(db, stamp, known[1], entry.id)
            else:
                operator_actions.not_accepted(db, stamp, known[0])
            settled += 1
        except (IdTaken, LostRace):
            continue
    set_marks(db, found.ends, found.gone)
    return settled


def mark_new(db: sqlite3.Connection, folder: Path) -> None:
    """Mark all logs for a ledger that was made a moment ago: they cannot speak of it yet."""
    ends: Marks = {}
    with suppress(OSError):
        for owner, names in entries.logs_in(folder).items():
            ends[owner] = Position(names[-1], (folder / names[-1]).stat().st_size)
    set_marks(db, ends)
