"""Pictures that are upside down or lie on their side, and nothing in the file says so.

The finder knows upright heads. In another one it finds nothing, or draws its mesh the wrong way up; but such a mesh
comes out elsewhere when the face is looked at again alone, where a right one stays within a hundredth of its width.
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
"""Of the face's width: a mesh that comes out this near to itself is right."""
LYING = 0.05
"""The least doubt of a mesh that is not upright itself: it may be right, but is not exact."""
FOREHEAD, CHIN = 10, 152
WAYS = (0, 2, 1, 3)
"""Quarter turns in the order in which they are tried."""
CONFIDENCE = 0.3
"""Of the finder that looks again: what was hard to find is hard to find again."""
SAMPLES = 16
"""Frames of a clip that are looked at in every way."""
PROOF = 2
"""So many of them must show a face in a turned clip; of a shorter clip all."""

WORDS = {1: "on their side", 2: "upside down", 3: "on their side"}


def doubt(finder: Finder, picture: ByteArray, faces: Sequence[Floats] | Floats) -> float:
    """Return how far the largest face (478, 3) is from where it is found again, in its widths; inf: not at all."""
    if not len(faces):
        return float("inf")
    face = max(faces, key=lambda points: geometry.area(geometry.box(points)))
    place = around(face, (picture.shape[1], picture.shape[0]))
    found = distance_from(face, look_into(finder, picture, place)) if place else float("inf")
    return max(found, LYING) if lies(face) else found


def lies(face: Floats) -> bool:
    """Return whether the chin of a face is level with its forehead or above it, rather than below."""
    across, down = (face[CHIN] - face[FOREHEAD])[:2]
    return bool(abs(across) > down)


def notes(turns: int, culprit: str) -> tuple[str, ...]:
    """Return remarks on a picture that was looked at after so many quarter turns."""
    return (f"the {noun(culprit)} shows faces {WORDS[turns]}: they were found all the same",) if turns else ()


def turn(picture: ByteArray, turns: int) -> ByteArray:
    return np.ascontiguousarray(np.rot90(picture, turns))


def best_way(doubts: dict[int, float]) -> int:
    """Return the quarter turns that fit best; 0 unless another way is clearly better. `doubts`: by the turns."""
    best = min(WAYS, key=lambda turns: doubts.get(turns, float("inf")))
    return best if doubts[best] < SURE and doubts[best] < doubts[0] / 2 else 0


@dataclass
class Check:
    """Looks again at a few of a clip's faces while they are found, to learn whether they are the right way up."""

    finder: Finder
    seen: int = 0
    due: int = 1
    _doubts: tuple[float, ...] = ()

    def see(self, picture: ByteArray, faces: Floats) -> None:
        """The first, fifth, 25th … picture with faces is looked at again: for a long clip this takes no time."""
        if len(faces):
            self.seen += 1
            if self.seen == self.due:
                self.due *= 5
                self._doubts = (*self._doubts, doubt(self.finder, picture, faces))

    @property
    def is_passed(self) -> bool:
        """Whether a good part of what was looked at stayed in its place."""
        return sum(found < SURE for found in self._doubts) * 2 > len(self._doubts)


def find_way(pictures: Iterable[ByteArray]) -> int:
    """Return the quarter turns after which most of a clip's `pictures` show a face, 0 unless it is clear."""
    proofs, count = dict.fromkeys(WAYS, 0), 0
    with Finder.for_stills(CONFIDENCE) as finder:
        for picture in pictures:
            count += 1
            for turns in WAYS:
                turned = turn(picture, turns)
                proofs[turns] += doubt(finder, turned, finder.find(turned)) < SURE
    best = max(WAYS, key=lambda turns: proofs[turns])
    return best if proofs[best] >= min(PROOF, count) and proofs[best] > 2 * proofs[0] else 0
