"""Small calculations on the points of a face: (478, 3), in pixels."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import mesh

Floats = NDArray[np.floating[Any]]
ByteArray = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
PixelWindow = tuple[int, int, int, int]
"""The same in whole pixels of a picture."""
SHIFT = 4
"""Fractional bits of the corner coordinates that OpenCV gets."""


def box(points: Floats) -> Box:
    low, high = points[: mesh.SURFACE, :2].min(0), points[: mesh.SURFACE, :2].max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def area(edges: Box) -> float:
    return max(0.0, edges[2] - edges[0]) * max(0.0, edges[3] - edges[1])


def face_area(points: Floats) -> float:
    """Return the area of the face's box."""
    return area(box(points))


def size_of(picture: ByteArray) -> tuple[int, int]:
    """Return the width and height of (h, w, …) pixels."""
    return picture.shape[1], picture.shape[0]


def turned_size(size: tuple[int, int], turns: int) -> tuple[int, int]:
    """Return width and height after `turns` quarter turns."""
    return (size[1], size[0]) if turns % 2 else size


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    common = area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return common / max(1e-6, area(one) + area(other) - common)


def width(points: Floats) -> float:
    """Return the face's width in three dimensions, at least 1. It stays the same when the head turns."""
    return max(1.0, float(np.linalg.norm(points[mesh.SIDES[1]] - points[mesh.SIDES[0]])))


def window(edges: Box, margin: float, size: tuple[int, int], step: int = 2) -> PixelWindow | None:
    """Return the part of a picture of `size` around a box, with a margin that is relative to the box's longer side.

    Its edges are multiples of `step`, except at the edge of a picture of odd size. None: nothing lies inside.
    """
    space = margin * max(edges[2] - edges[0], edges[3] - edges[1])
    left, top = (max(0, int((edges[i] - space) // step) * step) for i in (0, 1))
    right, bottom = (min(size[i], -int(-(edges[i + 2] + space) // step) * step) for i in (0, 1))
    return (left, top, right, bottom) if right - left >= step and bottom - top >= step else None


def turned(points: Floats, quarter_turns: int, size: tuple[int, int]) -> Floats:
    """Move points from np.rot90(picture, quarter_turns) back to the picture, whose width and height are `size`."""
    found = points.copy()
    x, y = points[..., 0], points[..., 1]
    wide, high = size
    match quarter_turns % 4:
        case 1:
            found[..., 0], found[..., 1] = wide - y, x
        case 2:
            found[..., 0], found[..., 1] = wide - x, high - y
        case 3:
            found[..., 0], found[..., 1] = y, high - x
    return found


def rise(value: Floats, low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high`, and a smooth transition between them."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), np.float32)


def corners(points: Floats) -> NDArray[np.int32]:
    """Return (…, 2) places, where 0.5 is the middle of the first cell, in OpenCV's fixed-point format (SHIFT)."""
    return np.asarray(np.rint((points - 0.5) * (1 << SHIFT)), np.int32)


def fill(picture: NDArray[np.generic], outline: Floats, value: float) -> None:
    """Draw a polygon, in place."""
    cv2.fillPoly(picture, [corners(outline)], value, cv2.LINE_8, SHIFT)


def distance(points: Floats, one: int, other: int) -> float:
    return float(np.linalg.norm(points[one] - points[other]))
