"""Which person gets which face."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from batchswap.errors import EngineError
from batchswap.local.engine.rendering import new_face
from batchswap.local.engine.rendering.new_face import NewFace
from batchswap.local.engine.tracking.tracks import SEEN
from batchswap.local.engine.values import noun

Someone = TypeVar("Someone")


def choose(
    faces: Mapping[int | None, NewFace], people: Sequence[Someone], culprit: str
) -> list[tuple[Someone, NewFace]]:
    """`people` in the order of their ids. Raises EngineError(culprit, …): nobody there, or an id that nobody has."""
    if not people:
        where = f"the video, or in fewer than {SEEN} frames of it" if culprit == "video" else f"the {noun(culprit)}"
        raise EngineError(culprit, f"no face found in {where}")
    chosen = []
    for number, face in faces.items():
        place = number or 0
        if not 0 <= place < len(people):
            known = ", ".join(str(i) for i in range(len(people)))
            raise EngineError(culprit, f"there is no face {place} in the {noun(culprit)}: it has {known}")
        chosen.append((people[place], face))
    return chosen


def read_faces(faces: tuple[tuple[int | None, Path], ...]) -> dict[int | None, NewFace]:
    """Each picture once, however many ids it is for. Raises EngineError("face", …)."""
    read = {path: new_face.read(path) for path in dict.fromkeys(path for _, path in faces)}
    return {number: read[path] for number, path in faces}


def notes(faces: Mapping[int | None, NewFace]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for face in faces.values() for note in face.notes))
