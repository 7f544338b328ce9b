"""Examine results that have no finding: those of an earlier version, or of runs without the examination."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from batchswap.delivery import missing_packages
from batchswap.delivery.examiner import Examiner, count_workers, open_examiner
from batchswap.errors import MissingExtra
from batchswap.ledger import deliveries, queries, signatures
from batchswap.ledger.transitions import Stamp, find_task, log
from batchswap.settings import Settings
from batchswap.sqlite_errors import transaction
from batchswap.states import Quality

EXAMINED = "examined"
"""The event of an examination after the run."""
_NOTHING = b"{}"


def require() -> None:
    """Raise MissingExtra without the packages that examine results."""
    if missing := missing_packages():
        raise MissingExtra("proof", missing[0])


def examine(
    db: sqlite3.Connection, settings: Settings, sound: dict[int, str], show: Callable[[int, int], None]
) -> dict[str, int]:
    """Examine those of the `sound` results (paths by task id) that have no finding, and record each at once.

    Return the number of results by quality. Inputs are not downloaded from private addresses.
    """
    left = [task_id for task_id in sound if _has_no_finding(db, task_id)]
    found: Counter[str] = Counter()
    asyncio.run(_examine_all(db, settings, {task_id: sound[task_id] for task_id in left}, found, show))
    return {str(quality): found[quality] for quality in Quality if found[quality]}


def _has_no_finding(db: sqlite3.Connection, task_id: int) -> bool:
    """Return whether the file of the task was not examined. A review alone is no finding."""
    content, found = _content(db, task_id), deliveries.find(db, task_id)
    if content is None:
        return False
    is_empty = found is not None and found.quality is Quality.UNKNOWN and found.evidence == _NOTHING
    return found is None or is_empty or found.sha256 != content


def _content(db: sqlite3.Connection, task_id: int) -> str | None:
    """Return the SHA-256 that a finding is about: that of the result as it was received."""
    known, delivered = queries.stored_by(db, task_id), signatures.find_record(db, task_id)
    if known is None or delivered is None:
        return None if known is None else known.sha256
    return delivered.received


async def _examine_all(
    db: sqlite3.Connection,
    settings: Settings,
    paths: dict[int, str],
    found: Counter[str],
    show: Callable[[int, int], None],
) -> None:
    if not paths:
        return
    examiner = open_examiner(settings, allow_private=False)
    if examiner is None:
        raise MissingExtra("proof", *missing_packages())
    coming = iter(paths.items())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count_workers() + 1):
                group.create_task(_examine_some(db, examiner, coming, len(paths), found, show))
    finally:
        await examiner.close()


async def _examine_some(
    db: sqlite3.Connection,
    examiner: Examiner,
    coming: Iterator[tuple[int, str]],
    total: int,
    found: Counter[str],
    show: Callable[[int, int], None],
) -> None:
    """Examine results until none is left. Several of these share the iterator."""
    for task_id, path in coming:
        item, content = find_task(db, task_id), _content(db, task_id)
        if content is None:
            continue
        finding = deliveries.find_same(db, item, content)
        if finding is None or finding.evidence == _NOTHING:
            finding = await examiner.examine(db, item, Path(path), content)
        with transaction(db):
            stamp = Stamp(time.time(), None)
            if _content(db, task_id) == content:
                is_signed = signatures.find(db, task_id) is not None
                finding = msgspec.structs.replace(finding, sha256=content, signed=is_signed)
                deliveries.record(db, stamp, task_id, finding)
                log(db, stamp, EXAMINED, task_id=task_id, detail=finding.quality)
                found[finding.quality] += 1
        show(found.total(), total)
