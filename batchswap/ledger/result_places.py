"""Where the results of done tasks are: below the folder of the run that stored them, or below --out."""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A stored result. `out`: the folder of the run that stored it, "" where that is not known. `at`: Unix time."""

    id: int
    batch: str
    key: str
    file: str
    size: int
    sha256: str
    out: str
    at: float

    def paths(self, out: str) -> Iterator[str]:
        """Where it may be: where it was stored, then below this `out`, which is absolute."""
        if self.out and self.out != out:
            yield f"{self.out}/{self.file}"
        yield f"{out}/{self.file}"


_COLUMNS = "t.id, b.name, t.key, t.file, t.size, t.sha256, coalesce(r.out, ''), coalesce(t.changed_at, 0.0)"
_FROM = "tasks t {} join batches b on b.id = t.batch_id left join runs r on r.id = t.stored_by"


def stored(db: sqlite3.Connection, batches: Sequence[str], most: int) -> Iterator[Stored]:
    """The last `most` results of these batches."""
    sql = (
        f"select {_COLUMNS} from {_FROM.format('not indexed')}"
        f" where b.name in ({', '.join('?' * len(batches))}) and t.state = 'done' and t.file is not null"
        " and t.generation = b.generation order by t.id desc limit ?"
    )
    for row in db.execute(sql, (*batches, most)):
        yield Stored(*row)


def stored_by(db: sqlite3.Connection, task_id: int) -> Stored | None:
    """The result of one done task."""
    sql = f"select {_COLUMNS} from {_FROM.format('')} where t.id = ? and t.state = 'done' and t.file is not null"
    row = db.execute(sql, (task_id,)).fetchone()
    return None if row is None else Stored(*row)
