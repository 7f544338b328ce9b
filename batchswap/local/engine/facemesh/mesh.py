"""The topology of MediaPipe's face mesh: 468 points on the face and 5 on each iris, 478 in all.

Left and right are the person's own. The numbers are indices of the 478 points.
"""

import numpy as np
from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections as Connections
from numpy.typing import NDArray

POINTS = 478
SURFACE = 468
"""Number of points on the face's surface. Those of the irises follow."""

OVAL = tuple(edge.start for edge in Connections.FACE_LANDMARKS_FACE_OVAL)
"""The outline of the face, in order."""

INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""The mouth's opening, in order, from the right corner along the lower lip to the left one."""

RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398)
"""The eyes' openings, each from a corner along the lower lid."""

RIGHT_IRIS, LEFT_IRIS = 468, 473
"""The centres; four points of the rim follow each."""

EYES = ((RIGHT_EYE, RIGHT_IRIS), (LEFT_EYE, LEFT_IRIS))

SIDES = (234, 454)
"""The points where the outline is widest. Their distance is called the face's width."""


def _fan(ring: tuple[int, ...], centre: int) -> list[tuple[int, int, int]]:
    return [(a, b, centre) for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]


def _strip(ring: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return triangles between the lower and upper half of a ring. Its first and middle points are the corners."""
    half = len(ring) // 2
    lower, upper = ring[: half + 1], (ring[0], *ring[: half - 1 : -1])
    found = []
    for i in range(half):
        found += [(lower[i], lower[i + 1], upper[i + 1]), (lower[i], upper[i + 1], upper[i])]
    return [triangle for triangle in found if len(set(triangle)) == 3]


def _surface() -> list[tuple[int, int, int]]:
    edges = Connections.FACE_LANDMARKS_TESSELATION
    return [(edges[i].start, edges[i + 1].start, edges[i + 2].start) for i in range(0, len(edges), 3)]


TRIANGLES: NDArray[np.int32] = np.array(
    [*_surface(), *_strip(INNER_LIPS), *(t for ring, iris in EYES for t in _fan(ring, iris))], np.int32
)
"""(n, 3): the surface, then the mouth's opening, then the eyes. All have the same winding, seen from the front."""


FOREHEAD = (
    *(70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300),
    *(389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162),
)
"""The outline of the area above the brows, where hair may hang."""

CHEEKS = (50, 101, 118, 117, 123, 147, 187, 205, 36, 280, 330, 347, 346, 352, 376, 411, 425, 266, 4, 5, 195, 197, 6)
"""Points that are most reliably skin."""


ABOVE_BROWS = (
    *(10, 21, 54, 67, 68, 69, 71, 103, 104, 108, 109, 151),
    *(162, 251, 284, 297, 298, 299, 301, 332, 333, 337, 338, 389),
)
"""Points of the forehead and the temples."""


def _touched(*groups: list[Connections.Connection]) -> list[int]:
    return sorted({end for group in groups for edge in group for end in (edge.start, edge.end)})


FEATURES = tuple(
    _touched(
        Connections.FACE_LANDMARKS_LIPS,
        Connections.FACE_LANDMARKS_LEFT_EYE,
        Connections.FACE_LANDMARKS_RIGHT_EYE,
        Connections.FACE_LANDMARKS_LEFT_EYEBROW,
        Connections.FACE_LANDMARKS_RIGHT_EYEBROW,
    )
)
"""Points with the colour of lips, lashes or brows, which shows little of the light."""
