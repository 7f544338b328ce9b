"""Report rows whose `output` was changed too late: a stored file is never moved, because it may be in use."""

import sqlite3

import msgspec

from batchswap.ledger import queries
from batchswap.ledger.rows import groups, one_of
from batchswap.manifest import Chunk
from batchswap.states import UNDONE, State

_AT_ONCE = 2000
"""Rows in one query."""
_KEEPING = (
    "select t.output, r.value ->> 2 from json_each(?) r cross join tasks t on t.batch_id = ? and t.key = r.value ->> 0"
    " where t.digest = r.value ->> 1 and t.output <> r.value ->> 2"
    f" and not {one_of('t.state', UNDONE)}"
)
"""A row with other inputs does not count: it is done again, and then its result gets the new name."""


class KeptOutputs:
    """Count the tasks that are done or in progress, and whose row names another output now.

    A batch without such tasks is not examined.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._ids: dict[str, int | None] = {}
        self._count, self._example = 0, ""

    def look(self, chunk: Chunk) -> bool:
        """Return whether the chunk has any such row."""
        before = self._count
        if chunk.batch not in self._ids:
            self._ids[chunk.batch] = self._id_of(chunk.batch)
        batch_id = self._ids[chunk.batch]
        for rows in () if batch_id is None else groups(chunk.rows, _AT_ONCE):
            outputs = msgspec.json.encode([(row.key, row.digest, row.output) for row in rows]).decode()
            for old, new in self._db.execute(_KEEPING, (outputs, batch_id)):
                self._count += 1
                self._example = self._example or f"{old}, not {new}"
        return self._count > before

    def _id_of(self, batch: str) -> int | None:
        counts = queries.counts(self._db, batch)
        if not any(counts[state] for state in State if state not in UNDONE):
            return None
        return int(self._db.execute("select id from batches where name = ?", (batch,)).fetchone()[0])

    @property
    def words(self) -> str:
        """A message about these tasks; "" if there are none."""
        keep = "tasks that are done or in progress keep their output"
        if self._count == 1:
            keep = "task that is done or in progress keeps its output"
        return f"{self._count:,} {keep}: {self._example}" if self._count else ""
