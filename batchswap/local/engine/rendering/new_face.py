"""New faces: find each one in its picture, keep it as textures of several sizes, and assign it to a person."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.errors import EngineError
from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.media import stills
from batchswap.local.engine.media.colour_planes import Coding
from batchswap.local.engine.tracking import upright
from batchswap.local.engine.tracking.close_search import look_everywhere
from batchswap.local.engine.tracking.finder import Finder, resized
from batchswap.local.engine.tracking.tracks import SEEN
from batchswap.local.engine.values import noun

Someone = TypeVar("Someone")

MARGIN = 0.08
"""Margin around the face in the texture, relative to its longer side."""
ENOUGH = 3072
"""Pixels. A larger picture shows the finder no more detail, even in its smallest tile."""
STEPS = 4
"""Texture sizes per octave."""


@dataclass(frozen=True)
class Texture:
    """A face in code values (h, w, 3), float, and its points (478, 2) in pixels."""

    codes: Floats
    points: Floats


@dataclass(frozen=True)
class NewFace:
    """`picture` is RGB, cut around the face; `points` (478, 3) are in its pixels."""

    picture: NDArray[np.uint8]
    points: Floats
    notes: tuple[str, ...] = ()
    _textures: dict[tuple[Coding, int], Texture] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def width(self) -> float:
        return geometry.width(self.points)

    def texture(self, coding: Coding, width: float) -> Texture:
        """Return the texture for a face `width` pixels wide: a little finer than that, to prevent shimmering."""
        step = max(0, round(STEPS * np.log2(self.width / (1.15 * width))))
        key = (coding, step)
        if key not in self._textures:
            self._textures[key] = self._make(coding, 2 ** (-step / STEPS))
        return self._textures[key]

    def _make(self, coding: Coding, scale: float) -> Texture:
        small = self.picture
        if scale < 1:
            # A Gaussian first: INTER_AREA alone leaves steps if the factor is no integer.
            soft = cv2.GaussianBlur(self.picture, (0, 0), 0.35 / scale)
            small = cv2.resize(soft, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ratio = np.array([small.shape[1] / self.picture.shape[1], small.shape[0] / self.picture.shape[0]], np.float32)
        return Texture(coding.encode(small), self.points[:, :2] * ratio)


def read(path: Path) -> NewFace:
    """Read the largest face in a picture. Raises EngineError("face", …) when there is none."""
    picture = stills.read(path, "face").rgb
    turns, faces = look_upright(picture)
    picture = upright.turn(picture, turns)
    face = max(faces, key=geometry.face_area, default=None)
    edges = None if face is None else geometry.window(geometry.box(face), MARGIN, geometry.size_of(picture), 1)
    if face is None or edges is None:
        raise EngineError("face", "no face found in the face picture")
    notes = [f"the face picture has {len(faces)} faces: the largest is used"] if len(faces) > 1 else []
    left, top, right, bottom = edges
    points = face - np.array([left, top, 0], np.float32)
    return NewFace(picture[top:bottom, left:right].copy(), points, (*notes, *upright.notes(turns, "face")))


def look_upright(picture: NDArray[np.uint8]) -> tuple[int, Floats]:
    """Return the quarter turns that bring a still upright, and its faces (n, 478, 3) in the turned picture."""
    found = {0: look_hard(picture)}
    with Finder.for_stills(upright.CONFIDENCE) as finder:
        doubts = {0: upright.doubt(finder, picture, found[0])}
        for turns in upright.WAYS[1:]:
            if doubts[0] < upright.SURE:
                break
            turned = upright.turn(picture, turns)
            found[turns] = look_hard(turned)
            doubts[turns] = upright.doubt(finder, turned, found[turns])
    best = upright.best_way(doubts)
    return best, found[best]


def look_hard(picture: NDArray[np.uint8]) -> Floats:
    """Find the faces of a still (n, 478, 3): first as it is, then with space around it, then with less confidence."""
    shrunk = shrink(picture)
    for confidence in (0.5, 0.3):
        with Finder.for_stills(confidence) as finder:
            for space in (0.0, 0.5):
                found = _look_with_space(finder, shrunk, space)
                if len(found):
                    return found * np.float32(max(picture.shape[:2]) / max(shrunk.shape[:2]))
    return np.zeros((0, mesh.POINTS, 3), np.float32)


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a picture to at most ENOUGH pixels on its longer side."""
    scale = ENOUGH / max(picture.shape[:2])
    return resized(picture, scale, cv2.INTER_AREA) if scale < 1 else picture


def _look_with_space(finder: Finder, picture: NDArray[np.uint8], space: float) -> Floats:
    """Find faces with space around the picture: the finder needs some for a face that fills the whole picture."""
    edge = round(space * max(picture.shape[:2]))
    framed = cv2.copyMakeBorder(picture, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(127, 127, 127))
    return look_everywhere(finder, framed) - np.array([edge, edge, 0], np.float32)


def choose(
    faces: Mapping[int | None, NewFace], people: Sequence[Someone], culprit: str
) -> list[tuple[Someone, NewFace]]:
    """Pair `people` (in the order of their ids) with faces. Raises EngineError(culprit, …): none, or an unknown id."""
    if not people:
        where = f"the video, or only in fewer than {SEEN} frames" if culprit == "video" else f"the {noun(culprit)}"
        raise EngineError(culprit, f"no face found in {where}")
    chosen = []
    for number, face in faces.items():
        place = number or 0
        if not 0 <= place < len(people):
            known = ", ".join(str(i) for i in range(len(people)))
            raise EngineError(culprit, f"face {place} was not detected in the {noun(culprit)}; detected: {known}")
        chosen.append((people[place], face))
    return chosen


def read_faces(faces: tuple[tuple[int | None, Path], ...]) -> dict[int | None, NewFace]:
    """Read each picture once, even if several ids use it. Raises EngineError("face", …)."""
    found = {path: read(path) for path in dict.fromkeys(path for _, path in faces)}
    return {number: found[path] for number, path in faces}


def notes_of(faces: Mapping[int | None, NewFace]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for face in faces.values() for note in face.notes))
