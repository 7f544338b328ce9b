"""Whether what the API says was submitted can be a row: the inputs of a task that was found, against the row's own."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchswap import wire
from batchswap.ledger import api_cache
from batchswap.ledger.enrolment import input_files
from batchswap.runner.prepare.uploads import hash_file
from batchswap.tasks import Task, is_url


def fits(task: Task, param: Any) -> bool:
    """Whether `param` can be this row. What it does not say, and uploaded files, fit."""
    model = wire.mapping(param).get("model")
    if model is not None and model != task.model:
        return False
    return all(said is None or said == given or not is_url(given) for given, said in _inputs(task, param))


def has_other_file(db: sqlite3.Connection, task: Task, param: Any) -> bool:
    """Whether `param` names an upload of another content than the row's file, as far as that can be known."""
    return any(
        isinstance(said, str) and _is_other(db, Path(task.folder, given), said)
        for given, said in _inputs(task, param)
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
    """Each input as the row gives it, and as `param` says it (None: not at all)."""
    said = wire.mapping(wire.mapping(param).get("input"))
    yield task.target, said.get(task.model.target_field)
    if task.face:
        yield task.face, said.get("new_face")
    listed = said.get("faces")
    faces = [wire.mapping(face) for face in listed] if isinstance(listed, list) else []
    shown = {wire.integer(face.get("face_id")): face.get("target") for face in faces}
    for face_id, given in task.faces:
        yield given, shown.get(face_id)
