"""What became of the file of a done task. A run never looks: there may be a million of them."""

import sqlite3
from enum import Enum
from pathlib import Path

from batchswap.errors import UsageError
from batchswap.ledger import queries
from batchswap.runner.prepare.uploads import hash_file
from batchswap.tasks import Task


class Result(Enum):
    """ANOTHER: something stands in its place, which may be anybody's by now."""

    STANDS = "stands"
    MISSING = "missing"
    ANOTHER = "another"


def look(db: sqlite3.Connection, out: Path, task: Task) -> Result:
    """Beside what the ledger has recorded of it. Raises UsageError when it cannot be looked at."""
    path, known = out / task.output, queries.former(db, task.id)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return Result.MISSING
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    try:
        is_same = path.is_file() and path.stat().st_size == known.size and hash_file(path) == known.sha256
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return Result.STANDS if is_same else Result.ANOTHER
