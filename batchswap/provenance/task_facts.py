"""Collect the facts about a task's result from the ledger."""

import sqlite3
import time
from pathlib import Path

from batchswap.ledger import releases
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.duplicates import root_of
from batchswap.ledger.enrolment.input_files import hash_file, is_same
from batchswap.ledger.rows import last_attempt
from batchswap.provenance.manifest import SwapFacts, SwapInput
from batchswap.tasks import Task, is_url

LOCAL = "local"


def facts_of(db: sqlite3.Connection, item: Task) -> SwapFacts:
    """Return what a manifest says about the result of this task. Blocks: an input with a new time is read.

    A reused result has the attempt of the task that was submitted, and the names and the consent of this one.
    """
    root = root_of(db, item.id)
    attempt = last_attempt(db, root)
    provider = "" if attempt is None else _provider(db, attempt.id)
    proof = releases.evidence(db, item.consent) if item.consent else None
    faces = item.faces or ((None, item.face),)
    return SwapFacts(
        item.batch,
        item.key,
        item.model.media_kind,
        str(item.model),
        provider,
        is_neural=provider != LOCAL,
        task_id=(attempt.remote_id or "") if attempt else "",
        attempt=attempt.number if attempt else 0,
        at=attempt.submitted_at if attempt else time.time(),
        target=_origin(db, root, item.folder, item.target),
        faces=tuple(_origin(db, root, item.folder, given, face_id) for face_id, given in faces),
        consent=item.consent,
        evidence=proof.sha256 if proof else "",
    )


def _provider(db: sqlite3.Connection, attempt_id: int) -> str:
    sql = "select r.provider from attempts a join runs r on r.id = a.run_id where a.id = ?"
    row = db.execute(sql, (attempt_id,)).fetchone()
    return str(row[0]) if row else ""


def _origin(db: sqlite3.Connection, task_id: int, folder: str, given: str, face_id: int | None = None) -> SwapInput:
    """Return an input, by the SHA-256 that it had when the task was submitted."""
    if is_url(given):
        return SwapInput(given, face_id=face_id)
    path = Path(folder, given)
    known = input_files.recorded(db, task_id, path)
    if known is None:
        return SwapInput(face_id=face_id)
    try:
        is_there = is_same(known, path, hash_file)
    except OSError:
        is_there = False
    return SwapInput(sha256=known.sha256, path=path if is_there else None, face_id=face_id)
