"""Compare the inputs that the API reports for a task with those of a row."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchswap import wire
from batchswap.ledger import api_cache
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.tasks import Task, is_url


def fits(task: Task, param: Any) -> bool:
    """Return whether `param` can be this row. Missing fields and uploaded files count as equal."""
    model = wire.mapping(param).get("model")
    if model is not None and model != task.model:
        return False
    return all(sent is None or sent == given or not is_url(given) for given, sent in _inputs(task, param))


def has_other_file(db: sqlite3.Connection, task: Task, param: Any) -> bool:
    """Return whether `param` is known to name an upload of other content than the row's file."""
    return any(
        isinstance(sent, str) and _is_other(db, Path(task.folder, given), sent)
        for given, sent in _inputs(task, param)
        if given and not is_url(given)
    )


def _is_other(db: sqlite3.Connection, path: Path, file_url: str) -> bool:
    digest = api_cache.uploaded_digest(db, file_url)
    if digest is None:
        return False
    try:
        as_enrolled = input_files.enrolled(db, path) == input_files.state_of(path.stat())
        return as_enrolled and hash_file(path) != digest
    except OSError:
        return False


def _inputs(task: Task, param: Any) -> Iterator[tuple[str, Any]]:
    """Yield each input as given in the row, with its value in `param` (None if missing)."""
    sent = wire.mapping(wire.mapping(param).get("input"))
    yield task.target, sent.get(task.model.target_field)
    if task.face:
        yield task.face, sent.get("new_face")
    listed = sent.get("faces")
    faces = [wire.mapping(face) for face in listed] if isinstance(listed, list) else []
    shown = {wire.integer(face.get("face_id")): face.get("target") for face in faces}
    for face_id, given in task.faces:
        yield given, shown.get(face_id)
