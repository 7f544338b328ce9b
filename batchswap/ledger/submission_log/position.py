"""What a ledger remembers of submission logs: its own id, and up to where it knows everything that they say of it."""

import secrets
import sqlite3
from collections.abc import Collection

import msgspec

from batchswap.states import AttemptState


class Position(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A place in the files of one key, which are in order of their names."""

    file: str
    offset: int


Marks = dict[str, Position]
"""Fingerprint of a key -> up to where its log has been compared."""


def new_id() -> bytes:
    return secrets.token_hex(8).encode()


def ledger_id(db: sqlite3.Connection) -> str:
    """The same for every copy of this ledger, and for no other one."""
    return bytes(db.execute("select value from meta where name = 'ledger'").fetchone()[0]).decode()


def take_id(db: sqlite3.Connection, ledger: str) -> None:
    """Continue as that ledger, which is lost."""
    db.execute("update meta set value = ? where name = 'ledger'", (ledger.encode(),))


def marks(db: sqlite3.Connection) -> Marks:
    row = db.execute("select value from meta where name = 'submits'").fetchone()
    return {} if row is None else msgspec.json.decode(row[0], type=Marks)


def set_marks(db: sqlite3.Connection, found: Marks, gone: Collection[str] = ()) -> None:
    """Add or replace the marks of these keys, and remove those of keys whose log is gone."""
    before = marks(db)
    after = {owner: mark for owner, mark in {**before, **found}.items() if owner not in gone}
    if after != before:
        db.execute("insert or replace into meta values('submits', ?)", (msgspec.json.encode(after),))


class LogPlace(msgspec.Struct, frozen=True):
    """How far a key's log has come, and the attempts that were then on their way into the ledger, each since where."""

    fingerprint: str
    end: Position
    open: dict[str, Position]


def advance(db: sqlite3.Connection, place: LogPlace) -> set[str]:
    """Mark what the ledger knows by now. Returns those of the open attempts whose answer it does not know."""
    sql = "select state from attempts where ref = ?"
    still_open = {ref for ref in place.open if db.execute(sql, (ref,)).fetchone() in (None, (AttemptState.OPEN,))}
    set_marks(db, {place.fingerprint: min([place.end, *(place.open[ref] for ref in still_open)])})
    return still_open
