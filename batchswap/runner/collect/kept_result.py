"""Decide whether a file under a task's final name is the result of an attempt, so that no download is needed."""

import os
import stat
from pathlib import Path

from batchswap.downloads import Verified, inspect, rejected_names
from batchswap.errors import DownloadError
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.submission_log.attempts import Logged
from batchswap.tasks import Task

SLACK = 2.0
"""Largest difference in seconds between the clocks of a file system and of this machine."""


def result_of(out: Path, item: Task, logged: Logged) -> tuple[str, Verified] | None:
    """Return the name below `out` of the file of this attempt, and the file. Raise OSError if it cannot be read.

    If the user has rejected it, it has a name below REJECTED.
    """
    found = _final(out / item.output, item, logged)
    if found is not None:
        return item.output, found
    for name in rejected_names(out, item.output) if logged.sha256 is not None else ():
        found = _as_logged(out / name, (out / name).stat(), logged)
        if found is not None:
            return name, found
    return None


def _final(path: Path, item: Task, logged: Logged) -> Verified | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _as_logged(path, found, logged) or _as_media(path, found, item, logged)


def _as_logged(path: Path, found: os.stat_result, logged: Logged) -> Verified | None:
    """Accept the size and SHA-256 that the log has for the saved file."""
    if logged.sha256 is None or logged.size != found.st_size or hash_file(path) != logged.sha256:
        return None
    return Verified(logged.sha256, found.st_size, "")


def _as_media(path: Path, found: os.stat_result, item: Task, logged: Logged) -> Verified | None:
    """Accept complete media written after the submit: the process may have died before it logged the file."""
    if logged.sha256 is not None or logged.remote_id is None or found.st_mtime < logged.at - SLACK:
        return None
    kind = item.model.media_kind
    try:
        with path.open("rb") as file:
            inspect(file, found.st_size, kind)
    except DownloadError:
        return None
    return Verified(hash_file(path), found.st_size, "")
