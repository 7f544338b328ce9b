"""Outputs that a file system may refuse: everything but short plain names."""

import sqlite3
from collections.abc import Iterable, Iterator

PLAIN = 100
"""Bytes of a path that no file system refuses for its length."""
_DEVICES = ("con", "prn", "aux", "nul", "com[0-9]", "lpt[0-9]")
_ODD = (
    "*[^A-Za-z0-9_./-]*",
    *("*." + end for end in ("", "/*")),
    *(f"*/{device}{end}" for device in _DEVICES for end in (".*", "/*", "")),
)


def odd(db: sqlite3.Connection, batches: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Queued rows of these batches whose output has an unusual name, as ("batch/key", output)."""
    is_odd = " or ".join("lower('/' || t.output) glob ?" for _ in _ODD)
    sql = (
        "select ? || '/' || t.key, t.output from batches b cross join tasks t indexed by tasks_queued"
        " on t.batch_id = b.id where b.name = ? and t.state = 'queued' and t.generation = b.generation"
        f" and (length(cast(t.output as blob)) > {PLAIN} or {is_odd})"
    )
    for batch in batches:
        yield from db.execute(sql, (batch, batch, *(pattern.lower() for pattern in _ODD)))
