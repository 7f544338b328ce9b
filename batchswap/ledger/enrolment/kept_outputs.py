"""Outputs that rows ask for too late: a file that is there may be in use, so it is not moved, and that is said."""

import sqlite3

import msgspec

from batchswap.ledger import queries
from batchswap.ledger.rows import one_of
from batchswap.manifest import Chunk
from batchswap.states import UNDONE, State

_AT_ONCE = 2000
"""Rows in one question."""
_KEEPING = (
    "select t.output, r.value ->> 2 from json_each(?) r cross join tasks t on t.batch_id = ? and t.key = r.value ->> 0"
    " where t.digest = r.value ->> 1 and t.output <> r.value ->> 2"
    f" and not {one_of('t.state', UNDONE)}"
)
"""An edited row is done anew, and gets the output that it names: it does not count."""


class KeptOutputs:
    """Counts tasks with a result, or on their way to one, whose row has come to name another output.

    A batch with nothing done or under way costs no look.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._ids: dict[str, int | None] = {}
        self._count, self._example = 0, ""

    def look(self, chunk: Chunk) -> bool:
        """Whether any row of the chunk is such a one."""
        before = self._count
        if chunk.batch not in self._ids:
            self._ids[chunk.batch] = self._id_of(chunk.batch)
        batch_id = self._ids[chunk.batch]
        for start in range(0, 0 if batch_id is None else len(chunk.rows), _AT_ONCE):
            asked = [(row.key, row.digest, row.output) for row in chunk.rows[start : start + _AT_ONCE]]
            for has, wants in self._db.execute(_KEEPING, (msgspec.json.encode(asked).decode(), batch_id)):
                self._count += 1
                self._example = self._example or f"{has}, not {wants}"
        return self._count > before

    def _id_of(self, batch: str) -> int | None:
        counts = queries.counts(self._db, batch)
        if not any(counts[state] for state in State if state not in UNDONE):
            return None
        return int(self._db.execute("select id from batches where name = ?", (batch,)).fetchone()[0])

    @property
    def words(self) -> str:
        """What to say of them; "" if there are none."""
        keep = "tasks done or under way keep the output they have"
        if self._count == 1:
            keep = "task done or under way keeps the output it has"
        return f"{self._count:,} {keep}: {self._example}" if self._count else ""
