"""Find the duplicates among rows of manifests without enrolling them, for `check` and `plan`."""

import sqlite3
from collections.abc import Sequence

from batchswap.ledger import report_queries
from batchswap.ledger.enrolment.duplicates import Duplicate, Matches, is_settled
from batchswap.ledger.enrolment.input_files import Hash
from batchswap.ledger.report_queries import KnownTask
from batchswap.ledger.rows import groups
from batchswap.manifest import Chunk
from batchswap.states import OPEN, State
from batchswap.tasks import Row, Task


class Lookout:
    """Remember the rows that have the same inputs as a task, or as a row of another batch."""

    def __init__(self, db: sqlite3.Connection | None, account: str, hash_file: Hash, *, has_several: bool) -> None:
        """`db` is None if there is no ledger yet. `has_several`: rows may come from more than one manifest."""
        self._db, self._account, self._hash, self._has_several = db, account, hash_file, has_several
        self._first: dict[str, Task] = {}
        self._suspects: list[tuple[Task, str, int]] = []
        self._names: set[tuple[str, str]] = set()
        self._seen: set[int] = set()
        self._decision: dict[int, str] = {}

    def look(self, chunk: Chunk) -> None:
        """Examine rows, in the order of the manifests."""
        for rows in groups(chunk.rows):
            known = {} if self._db is None else report_queries.known(self._db, chunk.batch, [row.key for row in rows])
            self.take(chunk, rows, known)

    def take(self, chunk: Chunk, rows: Sequence[Row], known: dict[str, KnownTask]) -> None:
        """Examine rows whose tasks have been looked up already."""
        self._seen.update(each.id for each in known.values())
        common = set() if self._db is None else self._matches().known([row.digest for row in rows])
        for row in rows:
            task = known.get(row.key)
            if not _would_be_paid(row, task):
                continue
            item = _task(chunk, row, task)
            first = self._first.setdefault(row.digest, item) if self._has_several else item
            if row.digest in common or first.batch != item.batch:
                self._suspects.append((item, chunk.place, row.line))
                self._names.add((chunk.batch, row.key))
                self._decision[id(item)] = "" if task is None or task.digest != row.digest else task.duplicates

    def has(self, batch: str, row: Row) -> bool:
        """Return whether the row may be a duplicate."""
        return (batch, row.key) in self._names

    def found(self, *, also_paid: bool = False) -> list[Duplicate]:
        """Return the duplicates, after all rows have been examined.

        Rows that are paid for on purpose are left out unless `also_paid`.
        """
        if not self._suspects:
            return []
        matches = self._matches()
        found = []
        for item, file, line in self._suspects:
            first = self._first.get(item.digest)
            if first is not None and first.batch != item.batch:
                matches.will_pay(first)
            other = None if is_settled(self._decision[id(item)], also_paid=also_paid) else matches.of(item)
            if other is not None:
                found.append(Duplicate(file, line, item, other, matches.is_gone(other.batch)))
        return found

    def _matches(self) -> Matches:
        return Matches(self._db, self._account, self._hash, current=self._seen)


def _would_be_paid(row: Row, task: KnownTask | None) -> bool:
    if task is None:
        return True
    if task.digest != row.digest:
        return task.state not in OPEN  # an edited row is queued
    return task.state is State.QUEUED and not task.is_waiting


def _task(chunk: Chunk, row: Row, task: KnownTask | None) -> Task:
    return Task(
        0 if task is None else task.id,
        chunk.batch,
        row.key,
        State.QUEUED,
        row.model,
        row.target,
        row.face,
        row.output,
        chunk.folder,
        row.digest,
        row.faces,
    )
