"""Rows into the table of tasks: hundreds in one statement, which SQLite works off while Python reads the next.

A statement a row costs three times as much, and a parameter that is NULL or bytes ten times as much as a text: so
what is the same for all rows of a statement is given once, and what no row has is not named at all.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Event
from types import TracebackType
from typing import Any, Self

import msgspec

from batchswap.ledger.rows import one_of, pack_faces, split_query
from batchswap.states import UNDONE
from batchswap.tasks import Row

INPUTS = (
    "model", "target", "target_query", "face", "face_query", "faces", "digest", "output", "source_id",
)  # fmt: skip
"""What an edited row brings anew, in the order in which `edited` holds it."""
BLOBS = ("target_query", "face_query", "faces")
_PACKED = "json_array(" + ", ".join(
    f"hex(excluded.{name})" if name in BLOBS else f"excluded.{name}" for name in INPUTS
) + ")"  # fmt: skip
_AT_ONCE = 500
"""Rows in one statement."""
RowColumns = dict[str, Sequence[Any]]


def statements(shared: dict[str, int], rows: Sequence[Row], position: int) -> Iterator[tuple[str, list[Any]]]:
    """Statements with their parameters that insert the rows, or renew those whose keys are there.

    `shared` are columns that are the same for all rows; `position` is that of the first row.
    """
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        own = _columns(some, position + first)
        same = {**shared, **_model(some, own)}
        values: list[Any] = [None] * (len(own) * len(some))
        for place, column in enumerate(own.values()):
            values[place :: len(own)] = column
        yield _upsert(tuple(same), tuple(own), len(some)), [*same.values(), *values]


def _columns(rows: Sequence[Row], position: int) -> RowColumns:
    """What the rows differ in, by column. A column that no row needs is left out: its default says the same."""
    found: RowColumns = {
        "position": range(position, position + len(rows)),
        "key": [row.key for row in rows],
        "line": [row.line for row in rows],
        "consent": [row.consent for row in rows],
        "tags": [";".join(row.tags) for row in rows],
        **_shown("target", [row.target for row in rows]),
        **_shown("face", [row.face for row in rows]),
        "digest": [row.digest for row in rows],
        "output": [row.output for row in rows],
    }
    if any(row.faces for row in rows):
        found["faces"] = [pack_faces(row.faces) for row in rows]
    if any(row.extra for row in rows):
        found["extra"] = [msgspec.json.encode(dict(row.extra)).decode() if row.extra else "" for row in rows]
    return found


def _shown(name: str, texts: list[str]) -> RowColumns:
    """An input as people may read it, and its query if any row has one."""
    if "?" not in "".join(texts):
        return {name: texts}
    split = [split_query(text) for text in texts]
    return {name: [shown for shown, _ in split], f"{name}_query": [query for _, query in split]}


def _model(rows: Sequence[Row], own: RowColumns) -> dict[str, str]:
    """The model that all rows have; otherwise nothing, and a column of its own."""
    models = [row.model for row in rows]
    if models.count(models[0]) == len(models):
        return {"model": str(models[0])}
    own["model"] = [str(model) for model in models]  # exact strings: for an enum, sqlite3 looks for an adapter first
    return {}


@lru_cache(maxsize=32)
def _upsert(shared: tuple[str, ...], own: tuple[str, ...], count: int) -> str:
    """The statement for `count` rows: the parameters of `shared` once, then those of `own` for each row."""
    # Only the first have numbers: SQLite looks for each numbered one among all others, which takes a tenth of a second.
    row = ", ".join([*(f"?{number}" for number in range(1, len(shared) + 1)), *("?" * len(own))])
    return f"""
        insert into tasks({", ".join((*shared, *own))}) values {", ".join([f"({row})"] * count)}
        on conflict(batch_id, key) do update set
            position = excluded.position, generation = excluded.generation, line = excluded.line,
            source_id = case when digest = excluded.digest then excluded.source_id else source_id end,
            consent = excluded.consent, tags = excluded.tags, extra = excluded.extra,
            edited = case when digest <> excluded.digest then cast({_PACKED} as blob) end,
            output = case when {one_of("state", UNDONE)} then excluded.output else output end
    """


class StatementThread:
    """Works off statements in a thread of its own, one at a time: SQLite needs no Python for it.

    `with StatementThread(db) as intake` leaves no statement at work behind, and no thread. Between `execute` and `wait`
    nobody else may use the connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._last: Future[None] | None = None

    def execute(self, sql: str, values: list[Any]) -> None:
        """Begin the statement when the one before is done. Raises what that one raised."""
        self.wait()
        begun = Event()
        self._last = self._thread.submit(self._run, begun, sql, values)
        # Reading on at once would keep the interpreter from the other thread, until there is nothing left to read.
        begun.wait()

    def _run(self, begun: Event, sql: str, values: list[Any]) -> None:
        begun.set()
        self._db.execute(sql, values)

    def wait(self) -> None:
        """Until the statement at work is done. Raises what it raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Self:
        # No new row can have a wrong state, which is the default; to look at a million of them is a fifth of the work.
        self._db.execute("pragma ignore_check_constraints = on")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._thread.shutdown()
        self._db.execute("pragma ignore_check_constraints = off")
