"""Insert hundreds of rows into the table of tasks with one statement, while Python reads the next rows.

One statement per row takes three times as long. A parameter that is NULL or bytes takes ten times as long as a text:
so a value that all rows share is passed once, and a column that no row needs is left out.
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
    "consent",
)  # fmt: skip
"""The columns that an edited row replaces, in the order in which `edited` stores them."""
BLOBS = ("target_query", "face_query", "faces")
_PACKED = "json_array(" + ", ".join(
    f"hex(excluded.{name})" if name in BLOBS else f"excluded.{name}" for name in INPUTS
) + ")"  # fmt: skip
_AT_ONCE = 500
"""Rows in one statement."""
RowColumns = dict[str, Sequence[Any]]


def statements(shared: dict[str, int], rows: Sequence[Row], position: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield statements with their parameters that insert the rows, or update the rows whose keys exist.

    `shared` holds the columns that are the same for all rows; `position` belongs to the first row.
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
    """Return the columns in which rows differ. A column that no row needs is left out: its default does the same."""
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
    """Return the readable column of an input, and the column of its queries if any row has one."""
    if "?" not in "".join(texts):
        return {name: texts}
    split = [split_query(text) for text in texts]
    return {name: [shown for shown, _ in split], f"{name}_query": [query for _, query in split]}


def _model(rows: Sequence[Row], own: RowColumns) -> dict[str, str]:
    """Return the model if all rows have the same one; otherwise add a column of models to `own`."""
    models = [row.model for row in rows]
    if models.count(models[0]) == len(models):
        return {"model": str(models[0])}
    own["model"] = [str(model) for model in models]  # exact strings: for an enum, sqlite3 looks for an adapter first
    return {}


@lru_cache(maxsize=32)
def _upsert(shared: tuple[str, ...], own: tuple[str, ...], count: int) -> str:
    """Return the statement for `count` rows: the parameters of `shared` once, then those of `own` for each row."""
    # Only the shared ones are numbered: SQLite searches all parameters for each number, which takes 0.1 seconds here.
    row = ", ".join([*(f"?{number}" for number in range(1, len(shared) + 1)), *("?" * len(own))])
    return f"""
        insert into tasks({", ".join((*shared, *own))}) values {", ".join([f"({row})"] * count)}
        on conflict(batch_id, key) do update set
            position = excluded.position, generation = excluded.generation, line = excluded.line,
            source_id = case when digest = excluded.digest then excluded.source_id else source_id end,
            consent = case when digest = excluded.digest then excluded.consent else consent end,
            tags = excluded.tags, extra = excluded.extra,
            edited = case when digest <> excluded.digest then cast({_PACKED} as blob) end,
            output = case when {one_of("state", UNDONE)} then excluded.output else output end
    """


class StatementThread:
    """Execute statements one at a time in a separate thread, because SQLite does not need the interpreter.

    When the `with` block ends, no statement is running and the thread has ended. The caller must not use the
    connection between `execute` and `wait`.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._last: Future[None] | None = None

    def execute(self, sql: str, values: list[Any]) -> None:
        """Start the statement after the previous one has finished. Raise the previous statement's error."""
        self.wait()
        started = Event()
        self._last = self._thread.submit(self._run, started, sql, values)
        # Without this wait, the caller could keep the interpreter until it has read all of its rows.
        started.wait()

    def _run(self, started: Event, sql: str, values: list[Any]) -> None:
        started.set()
        self._db.execute(sql, values)

    def wait(self) -> None:
        """Wait until the current statement has finished. Raise its error."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Self:
        # The check of `state` takes a fifth of the time, and a new row always has the default state.
        self._db.execute("pragma ignore_check_constraints = on")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._thread.shutdown()
        self._db.execute("pragma ignore_check_constraints = off")
