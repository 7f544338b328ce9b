"""Combine lines of the submission log into attempts, in a temporary database that may grow beyond memory."""

import sqlite3
from collections.abc import Iterator

import msgspec

from batchswap.ledger.submission_log.entries import LogEntry, What

_STATES: dict[str, What] = {
    What.SENT: What.UNKNOWN,
    What.UNKNOWN: What.UNKNOWN,
    What.ACCEPTED: What.ACCEPTED,
    What.REFUSED: What.REFUSED,
    What.ENDED: What.ENDED,
    What.SAVED: What.ENDED,
}
_IS_OURS = f"state <> '{What.REFUSED}'"
"""The condition that an attempt was, or may have been, accepted."""
_COLUMNS = "ref, ledger, owner, batch, key, digest, number, at, reserved, state, remote_id, charged, size, sha256"


class Logged(msgspec.Struct, frozen=True):
    """One attempt. `state` is unknown, accepted, refused or ended. `owner` is the fingerprint of the log's key."""

    ref: str
    ledger: str
    owner: str
    batch: str
    key: str
    digest: str
    number: int
    at: float
    reserved: float
    state: str
    remote_id: str | None
    charged: float | None
    size: int | None
    sha256: str | None


class Gathered:
    """Collects lines in the order of the log, and returns attempts."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute(
            "create table attempts(ref text primary key, ledger, owner, batch, key, digest, number, at, reserved,"
            " state, remote_id, charged, size, sha256) without rowid"
        )
        self._db.execute("pragma journal_mode = off")
        self._db.execute("pragma cache_size = -64000")
        self._db.execute("begin")

    def take(self, entry: LogEntry, owner: str) -> None:
        """Add a line. A line without an attempt, or with one that was only planned, changes nothing."""
        state = _STATES.get(entry.what)
        if state is None or not entry.ref:
            return
        marks = ", ".join("?" * (_COLUMNS.count(",") + 1))
        self._db.execute(
            f"insert into attempts({_COLUMNS}) values({marks}) on conflict do update set"
            f" state = case when excluded.state = '{What.UNKNOWN}' and {_IS_OURS} then state"
            f" when excluded.state = '{What.ACCEPTED}' and state = '{What.ENDED}' then state else excluded.state end,"
            " remote_id = coalesce(excluded.remote_id, remote_id), charged = coalesce(excluded.charged, charged),"
            " size = coalesce(excluded.size, size), sha256 = coalesce(excluded.sha256, sha256)",
            (
                *(entry.ref, entry.ledger, owner, entry.batch, entry.key, entry.digest, entry.attempt, entry.at),
                *(entry.reserved, state, entry.id or None, entry.charged, entry.size, entry.sha256 or None),
            ),
        )

    def count(self) -> int:
        """Count the attempts that were, or may have been, accepted."""
        return int(self._db.execute(f"select count(*) from attempts where {_IS_OURS}").fetchone()[0])

    def names(self, most: int) -> list[str]:
        """Return `batch/key` of at most `most` of them."""
        sql = f"select distinct batch || '/' || key from attempts where {_IS_OURS} order by 1 limit ?"
        return [name for (name,) in self._db.execute(sql, (most,))]

    def ledgers(self) -> list[str]:
        """Return the ids of their ledgers."""
        return [found for (found,) in self._db.execute("select distinct ledger from attempts where ledger <> ''")]

    def find(self, ref: str) -> Logged | None:
        row = self._db.execute(f"select {_COLUMNS} from attempts where ref = ?", (ref,)).fetchone()
        return None if row is None else Logged(*row)

    def __iter__(self) -> Iterator[Logged]:
        """Yield the attempts that were, or may have been, accepted, ordered by row and number."""
        sql = f"select {_COLUMNS} from attempts where {_IS_OURS} order by batch, key, number, at"
        for row in self._db.execute(sql):
            yield Logged(*row)

    def close(self) -> None:
        self._db.close()
