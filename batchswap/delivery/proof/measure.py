"""Measure how much a face and the rest of the picture changed between target and result.

The measure is one minus a correlation. The faces are compared after each was turned upright by its own landmarks, so
that a different frame rate or size does not matter much.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.delivery.proof import recognition
from batchswap.delivery.proof.people import Scene, ShownFace, moved
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats

SIDE, SPACE = 72, 0.45
"""Size of the compared face in pixels, and the margin around it, relative to its size."""
BLUR = 1.2
"""Pixels. It removes what an encoder changes."""
NOISE = 2.0
"""Code values: what an encoder changes even on a plain surface."""
WIDE = 96
"""Width in pixels of the picture whose rest is compared."""
GROW = 0.6
"""Margin of a face, relative to its size, that does not belong to the rest."""
FEW = 50
"""Pixels. A smaller rest is not compared."""
NOTABLE = 0.02
"""A change of the rest that a shift may explain."""


def oval() -> NDArray[np.bool_]:
    """Return which pixels of the compared square are the inner face: brows, eyes, nose and mouth."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centre = ((recognition.PLACES.mean(0) + np.array([0, 0.15]) + SPACE) / (2 * SPACE + 1) * SIDE).round().astype(int)
    unit = SIDE / (2 * SPACE + 1)
    cv2.ellipse(mask, tuple(int(v) for v in centre), (round(0.5 * unit), round(0.6 * unit)), 0, 0, 360, 1, -1)
    return mask.astype(bool)


INNER = oval()
PLACES = (recognition.PLACES + SPACE) / (2 * SPACE + 1) * SIDE


def face_change(one: ShownFace, other: ShownFace) -> float:
    """Return the change of a face's features: 0 for the same picture, about 1 for unrelated ones."""
    return change(_features(one.picture, one.points), _features(other.picture, other.points))


def change_in_place(face: ShownFace, result: ByteArray) -> float:
    """Return the change in the place of a face that was not found in the result."""
    return change(_features(face.picture, face.points), _features(result, moved(face.points, face.picture, result)))


def _features(picture: ByteArray, points: Floats) -> Floats:
    return grey(recognition.aligned(picture, points, SIDE, PLACES))[INNER]


def rest_change(scene: Scene) -> float:
    """Return the change of the picture outside the faces, after a shift that makes up for frames of different times."""
    target, result = scene.pair.target, scene.pair.result
    if target is None:
        return 0.0
    high = max(8, round(WIDE * target.shape[0] / target.shape[1]))
    before, after = (
        grey(cv2.resize(picture, (WIDE, high), interpolation=cv2.INTER_AREA)) for picture in (target, result)
    )
    mask = np.ones((high, WIDE), bool)
    for face in (*scene.target, *scene.result):
        left, top, right, bottom = face.place
        across, down = GROW * (right - left), GROW * (bottom - top)
        rows = slice(max(0, int((top - down) * high)), max(0, int((bottom + down) * high) + 1))
        mask[rows, max(0, int((left - across) * WIDE)) : max(0, int((right + across) * WIDE) + 1)] = False
    if mask.sum() < FEW:
        return 0.0
    plain = change(before[mask], after[mask])
    if plain < NOTABLE:
        return plain
    (across, down), _ = cv2.phaseCorrelate(before, after, cv2.createHanningWindow((WIDE, high), cv2.CV_32F))
    way = np.array([[1, 0, -across], [0, 1, -down]])
    moved_back = cv2.warpAffine(after, way, (WIDE, high), borderMode=cv2.BORDER_REPLICATE)
    return min(plain, change(before[mask], moved_back[mask]))


def grey(picture: ByteArray) -> Floats:
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), BLUR))


def change(before: Floats, after: Floats) -> float:
    """Return 1 minus the correlation, which does not depend on brightness and contrast.

    Surfaces without features count as equal: what they differ in is the encoder's noise.
    """
    one, other = before - before.mean(), after - after.mean()
    spread, other_spread, together = (float((x * y).mean()) for x, y in ((one, one), (other, other), (one, other)))
    noise = NOISE**2
    return max(0.0, 1 - (together + noise) / float(np.sqrt((spread + noise) * (other_spread + noise))))
