"""Names that begin with a text, for the completion in shells. A query reads only a part of a large ledger."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from batchswap.errors import LedgerError
from batchswap.ledger.file import connection
from batchswap.ledger.rows import marks
from batchswap.states import OPEN, State

MOST = 500
"""Number of keys that are offered at most."""
_FEW = 10_000
"""Number of tasks that can all be read for one press of a key."""
_SECONDS = 0.5
"""Longest duration of a query, which then raises sqlite3.OperationalError."""
_STEPS = 10_000
"""Steps of SQLite's machine, about a millisecond, between two looks at the clock."""
_LAST = "\U0010ffff"
_RANGE = "t.key >= ? and t.key < ?"
_BY_KEY = f"select t.key from batches b cross join tasks t where t.batch_id = b.id and {_RANGE}"
_BY_STATE = (
    f"select t.key from tasks t cross join batches b where t.state = '{{state}}' and t.batch_id = b.id and {_RANGE}"
)
_INDEXED = {State.QUEUED, *OPEN, State.FAILED}
"""The states whose tasks have an index."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger of any version for the queries of this module. No file is created. Raise an error if it fails."""
    if not connection.exists(path):
        raise LedgerError(f"{path}: there is no ledger")
    file = path.resolve()
    # Without a log file, no process has the ledger open. SQLite would create the file, and could not remove it.
    unused = "" if Path(f"{file}-wal").exists() else "&immutable=1"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro{unused}", uri=True, timeout=_SECONDS)) as db:
        end = time.monotonic() + _SECONDS

        def is_late() -> bool:
            return time.monotonic() > end

        db.set_progress_handler(is_late, _STEPS)
        if db.execute("pragma application_id").fetchone()[0] != connection.APPLICATION_ID:
            raise LedgerError(f"{path}: is not a ledger")
        yield db


def batches(db: sqlite3.Connection, typed: str) -> Iterator[str]:
    """Yield the names of batches."""
    yield from _texts(db, "select name from batches where name >= ? and name < ? order by name", _range(typed))


def releases(db: sqlite3.Connection, typed: str) -> Iterator[str]:
    """Yield the references of releases that rows name."""
    sql = "select reference from releases where reference >= ? and reference < ? order by reference"
    yield from _texts(db, sql, _range(typed))
    sql = "select distinct consent from tasks where consent <> '' and consent >= ? and consent < ?"
    yield from _texts(db, f"{sql} limit {MOST}", _range(typed))


def codes(db: sqlite3.Connection, typed: str) -> Iterator[str]:
    """Yield the reason codes of failed tasks."""
    sql = "select distinct code from tasks where state = 'failed' and code >= ? and code < ? and code <> ''"
    yield from _texts(db, f"{sql} order by code", _range(typed))


def keys(db: sqlite3.Connection, typed: str, states: Sequence[State] = ()) -> Iterator[str]:
    """Yield the keys of tasks in these states, or in any state; `batch/key` if that is typed.

    Of more than MOST keys, some and the last one: what these begin with is then what all keys begin with, and a shell
    inserts no more than that.
    """
    places = [(typed[:cut], typed[cut + 1 :]) for cut, each in enumerate(typed) if each == "/"]
    for batch, start in places:
        yield from (f"{batch}/{key}" for key in _keys(db, start, states, batch))
    found = False
    for key in _keys(db, typed, states):
        found = True
        yield key
    if typed and not found and not places:
        for batch in batches(db, typed):
            yield from (f"{batch}/{key}" for key in _keys(db, "", states, batch))


def _keys(db: sqlite3.Connection, start: str, states: Sequence[State], batch: str | None = None) -> Iterator[str]:
    """Yield keys in their order, not more than about MOST."""
    values = [*_range(start), *([] if batch is None else [batch])]
    within = "" if batch is None else " and b.name = ?"
    if _are_few(db, states):
        sql = _BY_STATE + within
        found = sorted(key for state in states for key in _texts(db, sql.format(state=state), values))
        yield from [*found[:MOST], *found[-1:]]
        return
    one_of = f" and t.state in ({marks(states)})" if states else ""
    count = 0
    for key in _texts(db, f"{_BY_KEY}{within}{one_of} limit {MOST}", [*values, *states]):
        count += 1
        yield key
    if count == MOST:
        for end in ("min", "max"):
            sql = (
                f"select (select {end}(t.key) from tasks t where t.batch_id = b.id and {_RANGE}) as key from batches b"
            )
            sql += within.replace(" and", " where")
            yield from _texts(db, f"select {end}(key) from ({sql})", values)


def _are_few(db: sqlite3.Connection, states: Sequence[State]) -> bool:
    """Return whether all tasks in these states can be read by an index."""
    if not states or not _INDEXED.issuperset(states):
        return False
    sql = f"select coalesce(sum(n), 0) from tallies where state in ({marks(states)})"
    return bool(db.execute(sql, [*states]).fetchone()[0] <= _FEW)


def _range(start: str) -> tuple[str, str]:
    return start, start + _LAST


def _texts(db: sqlite3.Connection, sql: str, values: Sequence[str]) -> Iterator[str]:
    yield from (text for (text,) in db.execute(sql, values))
