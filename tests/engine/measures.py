"""Four measures of a swap's quality: identity, pose, steadiness and seam.

Each one compares the frames before and after the swap. Its noise floor, the effect of the encoder alone, is its value
for a clip that was only decoded and encoded again.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections as Connections
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, width
from tests.engine import face_identity
from tests.engine.landmarks import Pixels, Seen, apart

EVERY = 8
"""Identity and seams are measured in every eighth frame."""

FIRM = np.setdiff1d(mesh.FEATURES, [end for edge in Connections.FACE_LANDMARKS_LIPS for end in (edge.start, edge.end)])
"""Eyes and brows, where a sliding face is most visible. Lips move by themselves, and skin has few features."""
INNER = np.setdiff1d(np.arange(mesh.SURFACE), mesh.OVAL)[::3]
"""Some points of the whole face except its outline."""
ACROSS, WINDOW = 200, 31
"""Pixels: the width of a face for measuring movement, and the size of the tracked patch."""

RAYS, TOGETHER = 180, 9
"""Places along the mask's edge, and the number of them in one average. A seam follows the edge; hair does not."""
ACROSS_EDGE = np.arange(-0.09, 0.081, 0.01)
"""Distance from the outline, relative to the face's width, at which colours are compared. The mask begins there."""
STEP = 2
"""Number of these places in two per cent of the face's width."""
VISIBLE = 2.5
"""Limit in code values. Without relighting, or with a hard mask, the demo's clips have steps of 3 to 35."""
SLACK = 7
"""Tolerance, in places along and across, for the same step in the original: three per cent, like that of the pose."""


def looks(before: Seen, after: Sequence[Pixels]) -> NDArray[np.float64]:
    """Return embeddings (n, 128) for every eighth frame of `after`, at the places of the faces in `before`."""
    some = range(0, len(before.frames), EVERY)
    return np.array([face_identity.embedding(after[number], before.points[number]) for number in some])


def likeness(shown: NDArray[np.float64], old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Return the part of the faces (n, 128) that are nearer to the new one (128,) than to the old ones (n, 128)."""
    return float(np.mean(np.linalg.norm(shown - new, axis=1) < np.linalg.norm(shown - old, axis=1)))


def misplacing(before: Seen, after: Seen) -> NDArray[np.float64]:
    """Return, for each frame, the mean distance between old and new landmarks, relative to the face's width."""
    return np.array([apart(one, two) for one, two in zip(before.points, after.points, strict=True)])


def shaking(before: Seen, heads: Sequence[Floats], after: Sequence[Pixels]) -> float:
    """Return how eyes and brows of `after` shake against the `heads` of `before`: the mean change of their speed from
    frame to frame, relative to the face's width.

    Speeds are those of picture patches (Lucas and Kanade, 1981), not of landmarks, whose noise is larger.
    """
    against = np.array([flow - own for flow, own in zip(flows(before, after, FIRM), heads, strict=True)])
    return float(np.linalg.norm(np.diff(against, axis=0), axis=2).mean())


def movements(before: Seen) -> list[Floats]:
    """Return, for each pair of frames, the movement of the FIRM points with the whole head, in face widths: the turn,
    shift and growth that fit most points of the face.
    """
    found = []
    for flow, face in zip(flows(before, before.frames, INNER), before.points, strict=False):
        places = face[:, :2] / width(face)
        fit, _ = cv2.estimateAffinePartial2D(places[INNER], places[INNER] + flow, ransacReprojThreshold=0.01)
        found.append(places[FIRM] @ fit[:, :2].T + fit[:, 2] - places[FIRM])
    return found


def flows(before: Seen, after: Sequence[Pixels], which: NDArray[np.int_]) -> list[Floats]:
    """Return, for each pair of frames of `after`, the movement of patches at points of `before` (n, 2), in widths."""
    scale = ACROSS / float(np.median([width(face) for face in before.points]))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    grey = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=how)
        for frame in after
    ]
    found = []
    for one, two, face in zip(grey, grey[1:], before.points, strict=False):
        start = np.ascontiguousarray(face[which, :2] * scale - 0.5, np.float32)
        end = cv2.calcOpticalFlowPyrLK(one, two, start, start.copy(), winSize=(WINDOW, WINDOW), maxLevel=3)[0]
        found.append((end - start) / ACROSS)
    return found


def seam(before: Seen, after: Sequence[Pixels]) -> float:
    """Return the 95th percentile, over places along the mask's edge, of the largest step in colour across the edge
    that the original does not have: code values in two per cent of the face's width.
    """
    extra = []
    for number in range(0, len(before.frames), EVERY):
        face = before.points[number]
        allowed = cv2.dilate(steps(before.frames[number], face), np.ones((SLACK, SLACK)))
        inner = np.maximum(0, steps(after[number], face) - allowed)[:, SLACK // 2 : -(SLACK // 2)]
        extra.append(inner.max(1))
    return float(np.percentile(extra, 95))


def steps(frame: Pixels, face: Floats) -> Floats:
    """Return the change of colour across the outline (RAYS, places)."""
    places = across(face[list(mesh.OVAL), :2], width(face))
    strip = cv2.remap(frame, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    wrapped = cv2.copyMakeBorder(strip, TOGETHER, TOGETHER, 0, 0, cv2.BORDER_WRAP).astype(np.float32)
    smooth = cv2.blur(wrapped, (1, TOGETHER))[TOGETHER:-TOGETHER]
    return np.asarray(np.abs(smooth[:, STEP:] - smooth[:, :-STEP]).max(2), np.float32)


def across(outline: Floats, unit: float) -> Floats:
    """Return places (RAYS, places, 2) at even distances along the outline and ACROSS_EDGE it, in units."""
    closed = np.vstack([outline, outline[:1]])
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    stops = np.linspace(0, lengths[-1], RAYS, endpoint=False)
    edge = np.stack([np.interp(stops, lengths, closed[:, axis]) for axis in (0, 1)], 1)
    along = np.roll(edge, -3, 0) - np.roll(edge, 3, 0)
    inward = np.stack([-along[:, 1], along[:, 0]], 1) / np.linalg.norm(along, axis=1, keepdims=True)
    inward *= np.sign(((edge.mean(0) - edge) * inward).sum())
    return np.asarray(edge[:, None] + unit * ACROSS_EDGE[:, None] * inward[:, None] - 0.5, np.float32)
