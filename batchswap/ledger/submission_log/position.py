"""Store a ledger's id, and marks: the positions up to which the submission logs were compared with it."""

import secrets
import sqlite3
from collections.abc import Collection

import msgspec

from batchswap.states import AttemptState


class Position(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A position in the files of one key. Their names sort by month."""

    file: str
    offset: int


Marks = dict[str, Position]
"""Maps the fingerprint of a key to the end of the part of its log that was compared."""


def new_id() -> bytes:
    return secrets.token_hex(8).encode()


def ledger_id(db: sqlite3.Connection) -> str:
    """Return the id that only this ledger and its copies have."""
    return bytes(db.execute("select value from meta where name = 'ledger'").fetchone()[0]).decode()


def take_id(db: sqlite3.Connection, ledger: str) -> None:
    """Take the id of a lost ledger, to replace it."""
    db.execute("update meta set value = ? where name = 'ledger'", (ledger.encode(),))


def marks(db: sqlite3.Connection) -> Marks:
    row = db.execute("select value from meta where name = 'submits'").fetchone()
    return {} if row is None else msgspec.json.decode(row[0], type=Marks)


def set_marks(db: sqlite3.Connection, found: Marks, gone: Collection[str] = ()) -> None:
    """Add or replace the marks of these keys, and remove those of keys whose log no longer exists."""
    before = marks(db)
    after = {owner: mark for owner, mark in {**before, **found}.items() if owner not in gone}
    if after != before:
        db.execute("insert or replace into meta values('submits', ?)", (msgspec.json.encode(after),))


class LogPlace(msgspec.Struct, frozen=True):
    """The end of a key's log, and the attempts without an answer in the ledger at that time, with their positions."""

    fingerprint: str
    end: Position
    open: dict[str, Position]


def advance(db: sqlite3.Connection, place: LogPlace) -> set[str]:
    """Set the mark up to which the ledger is complete. Return the open attempts that have no answer in it."""
    sql = "select state from attempts where ref = ?"
    still_open = {ref for ref in place.open if db.execute(sql, (ref,)).fetchone() in (None, (AttemptState.OPEN,))}
    set_marks(db, {place.fingerprint: min([place.end, *(place.open[ref] for ref in still_open)])})
    return still_open
