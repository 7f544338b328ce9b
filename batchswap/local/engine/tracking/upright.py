"""Detect pictures that are upside down or on their side although the file does not say so.

The finder recognises upright heads. In other ones it finds nothing, or its mesh is upside down. A second look at the
face alone reveals a wrong mesh: it moves, while a right one stays within a hundredth of the face's width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats
from batchswap.local.engine.tracking.close_search import around, distance_from, look_into
from batchswap.local.engine.tracking.finder import Finder
from batchswap.local.engine.values import noun

SURE = 0.02
"""Distance relative to the face's width. A mesh that moves less than this in a second look is right."""
LYING = 0.05
"""Least doubt about a mesh that is not upright itself: it may be right, but is not exact."""
FOREHEAD, CHIN = 10, 152
WAYS = (0, 2, 1, 3)
"""Quarter turns in the order in which they are tried."""
CONFIDENCE = 0.3
"""Confidence for the second look: a face that was hard to find once is hard to find again."""
SAMPLES = 16
"""Frames of a clip that are examined in every orientation."""
PROOF = 2
"""Number of these frames that must show a face in a turned clip; all of them in a shorter clip."""

WORDS = {1: "on their side", 2: "upside down", 3: "on their side"}


def doubt(finder: Finder, picture: ByteArray, faces: Sequence[Floats] | Floats) -> float:
    """Return how far the largest face (478, 3) moves in a second look, in face widths; inf if it is not found again."""
    if not len(faces):
        return float("inf")
    face = max(faces, key=geometry.face_area)
    place = around(face, geometry.size_of(picture))
    found = distance_from(face, look_into(finder, picture, place)) if place else float("inf")
    return max(found, LYING) if lies(face) else found


def lies(face: Floats) -> bool:
    """Return whether the chin of a face is level with its forehead or above it."""
    across, down = (face[CHIN] - face[FOREHEAD])[:2]
    return bool(abs(across) > down)


def notes(turns: int, culprit: str) -> tuple[str, ...]:
    """Return a remark on an input whose faces were found only after `turns` quarter turns."""
    return (f"the {noun(culprit)} shows faces {WORDS[turns]}: it was turned to find them",) if turns else ()


def turn(picture: ByteArray, turns: int) -> ByteArray:
    return np.ascontiguousarray(np.rot90(picture, turns))


def best_way(doubts: dict[int, float]) -> int:
    """Return the quarter turns with the least doubt; 0 unless another way is clearly better."""
    best = min(WAYS, key=lambda turns: doubts.get(turns, float("inf")))
    return best if doubts[best] < SURE and doubts[best] < doubts[0] / 2 else 0


@dataclass
class Check:
    """Takes a second look at a few of a clip's faces during the first pass, to check that they are upright."""

    finder: Finder
    seen: int = 0
    due: int = 1
    _doubts: tuple[float, ...] = ()

    def see(self, picture: ByteArray, faces: Floats) -> None:
        """Take a second look at the 1st, 5th, 25th … picture with faces. In a long clip this takes hardly any time."""
        if len(faces):
            self.seen += 1
            if self.seen == self.due:
                self.due *= 5
                self._doubts = (*self._doubts, doubt(self.finder, picture, faces))

    @property
    def is_passed(self) -> bool:
        """Whether more than half of the faces stayed in their place."""
        return sum(found < SURE for found in self._doubts) * 2 > len(self._doubts)


def find_way(pictures: Iterable[ByteArray]) -> int:
    """Return the quarter turns after which most of a clip's `pictures` show a face; 0 if it is unclear."""
    proofs, count = dict.fromkeys(WAYS, 0), 0
    with Finder.for_stills(CONFIDENCE) as finder:
        for picture in pictures:
            count += 1
            for turns in WAYS:
                turned = turn(picture, turns)
                proofs[turns] += doubt(finder, turned, finder.find(turned)) < SURE
    best = max(WAYS, key=lambda turns: proofs[turns])
    return best if proofs[best] >= min(PROOF, count) and proofs[best] > 2 * proofs[0] else 0
