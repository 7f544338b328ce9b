"""What a file under a task's final name proves: that it is the result of an attempt, so that it need not be fetched.

Each kind of evidence is a function that returns what it has proved, or None where it has nothing to say.
"""

import os
import stat
from pathlib import Path

from batchswap.downloads import Verified, inspect
from batchswap.errors import DownloadError
from batchswap.ledger.submission_log.attempts import Logged
from batchswap.runner.prepare.uploads import hash_file
from batchswap.tasks import Task

SLACK = 2.0
"""Seconds that the clocks of a file system and of this machine may differ by."""


def result_of(out: Path, item: Task, logged: Logged) -> Verified | None:
    """The result below `out`, if the file there is the one of this attempt. Raises OSError where it cannot be read."""
    path = out / item.output
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _as_logged(path, found, logged) or _as_media(path, found, item, logged)


def _as_logged(path: Path, found: os.stat_result, logged: Logged) -> Verified | None:
    """The log has the size and the SHA-256 of what was saved."""
    if logged.sha256 is None or logged.size != found.st_size or hash_file(path) != logged.sha256:
        return None
    return Verified(logged.sha256, found.st_size, "")


def _as_media(path: Path, found: os.stat_result, item: Task, logged: Logged) -> Verified | None:
    """The process died before it could log what it had saved: whole media, written after the submit."""
    if logged.sha256 is not None or logged.remote_id is None or found.st_mtime < logged.at - SLACK:
        return None
    kind = item.model.media_kind
    try:
        with path.open("rb") as file:
            inspect(file, found.st_size, kind)
    except DownloadError:
        return None
    return Verified(hash_file(path), found.st_size, "")
