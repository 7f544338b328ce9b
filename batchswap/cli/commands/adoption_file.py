"""The file of `adopt --from`: a CSV with the columns key, task_id and optionally batch."""

import csv
from pathlib import Path

from batchswap import wire
from batchswap.errors import UsageError

COLUMNS = {"key", "task_id", "batch"}


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Task names, as `KEY` or `batch/KEY`, and their ids. Raises UsageError with file:line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"key", "task_id"} <= set(rows.fieldnames or ()) <= COLUMNS:
                raise UsageError(f"{path}:1: the columns must be key, task_id and optionally batch")
            found = [_pair(path, rows.line_num, row) for row in rows]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not a CSV file in UTF-8 ({error})") from error
    for place in (0, 1):
        names = [pair[place] for pair in found]
        if (
            twice := next((name for name in names if names.count(name) > 1), None)
            if len(set(names)) < len(names)
            else None
        ):
            raise UsageError(f"{path}: {twice} is named twice")
    if not found:
        raise UsageError(f"{path}: there is no row")
    return found


def _pair(path: Path, line: int, row: dict[str, str | None]) -> tuple[str, str]:
    key, task_id, batch = (str(row.get(name) or "") for name in ("key", "task_id", "batch"))
    if not key or wire.usable_id(task_id) is None or None in row:
        raise UsageError(f"{path}:{line}: needs a key and a task id of 1 to 256 printable characters")
    return f"{batch}/{key}" if batch else key, task_id
