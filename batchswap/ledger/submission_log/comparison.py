"""Compare a ledger with the submission logs, to find attempts of this ledger that it does not have."""

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

_OTHER = "a run with another HOME or XDG_STATE_HOME has its own; such runs do not share the rate limit"


class Comparison:
    """The entries of the logs after the marks of a ledger. `missing` are attempts that the ledger does not have.

    `answers` are the answers to attempts that have none in the ledger. `ends` are the new marks if nothing is missing.
    `problems` explain why a log cannot be compared; `gone` are the keys whose log no longer exists.
    """

    def __init__(self) -> None:
        self.missing = Gathered()
        self.answers: dict[str, LogEntry] = {}
        self.ends: Marks = {}
        self.gone: list[str] = []
        self.problems: list[str] = []


@contextmanager
def compared(db: sqlite3.Connection, folder: Path) -> Iterator[Comparison]:
    """Compare without changing anything. A log that has not grown since its mark is not read."""
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
            found.problems.append(f"{folder / mark.file} is missing ({_OTHER})")
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
    """Return the end of the last complete line."""
    own = ledger_id(db)
    with entries.opened(path) as (handle, size):
        if size < start:
            found.problems.append(f"{path} has become shorter")
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
    """Record the answers from the logs, and set the new marks. Return the number of attempts that were settled.

    The caller holds the lock and a transaction, and no attempt is missing.
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
    """Mark all logs as read for a ledger that was just created: they cannot have its attempts yet."""
    ends: Marks = {}
    with suppress(OSError):
        for owner, names in entries.logs_in(folder).items():
            ends[owner] = Position(names[-1], (folder / names[-1]).stat().st_size)
    set_marks(db, ends)
