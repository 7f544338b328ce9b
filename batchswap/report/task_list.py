"""The reports of `batchswap tasks`: a table, CSV, JSON or JSON lines, each as a stream of lines."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from batchswap.ledger.report_queries import TaskLine
from batchswap.report.formatting import iso, money, table
from batchswap.states import State
from batchswap.tasks import public

COLUMNS = (
    "batch", "key", "state", "code", "reason", "model", "target", "face", "output", "consent", "tags", "tries",
    "credits", "remote_id", "file", "size", "sha256", "changed_at", "line", "extra", "quality",
    "swap_score", "review", "signed", "key_name", "withdrawn",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Beginnings of a cell that spreadsheets take for a formula."""


def record(line: TaskLine) -> dict[str, Any]:
    """Return one task for a script. `credits` None: unknown. URLs have no query, which may be a signature.

    `quality` None: there is no result.
    """
    return {
        "batch": line.batch,
        "key": line.key,
        "state": line.state,
        "code": line.code,
        "reason": line.reason,
        "model": line.model,
        "target": public(line.target),
        "face": public(line.face) if line.face else "; ".join(f"{i}={public(given)}" for i, given in line.faces),
        "output": line.output,
        "consent": line.consent,
        "tags": [tag for tag in line.tags.split(";") if tag],
        "tries": line.attempts,
        "credits": line.spent,
        "remote_id": line.remote_id,
        "file": line.file if line.state == State.DONE else None,
        "size": line.size if line.state == State.DONE else None,
        "sha256": line.sha256 if line.state == State.DONE else None,
        "changed_at": iso(line.changed_at),
        "line": line.line,
        "extra": msgspec.json.decode(line.extra) if line.extra else {},
        "quality": line.quality,
        "swap_score": line.score,
        "review": line.review,
        "signed": bool(line.is_signed),
        "key_name": None,
        "withdrawn": bool(line.is_withdrawn),
    }


def to_table(lines: Iterable[TaskLine], columns: int | None) -> Iterator[str]:
    rows = ((line.key, line.state, line.batch, str(line.attempts), money(line.spent), _last(line)) for line in lines)
    return table(("key", "state", "batch", "tries", "credits", "output or reason"), rows, columns=columns,
                 right=frozenset({3, 4}))  # fmt: skip


def _last(line: TaskLine) -> str:
    if line.state == State.DONE or not (line.reason or line.code):
        return line.output
    return f"{line.code}: {line.reason}" if line.code and line.reason != line.code else line.reason


def to_csv(lines: Iterable[TaskLine], _: int | None) -> Iterator[str]:
    yield _csv_line(COLUMNS)
    for line in lines:
        found = record(line)
        found["tags"] = ";".join(found["tags"])
        found["extra"] = line.extra
        yield _csv_line([harmless("" if found[name] is None else found[name]) for name in COLUMNS])


def harmless(value: Any) -> Any:
    """Return the cell such that no spreadsheet takes it for a formula. Numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    # The writer quotes cells that contain a character of its line terminator: both CR and LF must be in it.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n")


def to_jsonl(lines: Iterable[TaskLine], _: int | None) -> Iterator[str]:
    """Yield one JSON object per task, in ASCII, which is valid in any encoding."""
    for line in lines:
        yield json.dumps(record(line), separators=(",", ":"))


def to_json(lines: Iterable[TaskLine], _: int | None) -> Iterator[str]:
    """Yield one array with one task per line."""
    mark = "["
    for text in to_jsonl(lines, None):
        yield mark + text
        mark = ","
    yield "[]" if mark == "[" else "]"


FORMATS: dict[str, Callable[[Iterable[TaskLine], int | None], Iterator[str]]] = {
    "table": to_table,
    "csv": to_csv,
    "json": to_json,
    "jsonl": to_jsonl,
}
