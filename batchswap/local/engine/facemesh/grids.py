"""Small things that are drawn and measured in grids."""

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh.geometry import Floats

SHIFT = 4
"""Binary digits after the point in the corners that OpenCV draws."""


def rise(value: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, smooth between."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), np.float32)


def corners(points: Floats) -> NDArray[np.int32]:
    """(…, 2) places, where 0.5 is the middle of the first cell, as OpenCV wants them with SHIFT."""
    return np.asarray(np.rint((points - 0.5) * (1 << SHIFT)), np.int32)


def fill(picture: NDArray[np.generic], outline: Floats, value: float) -> None:
    """Draw a polygon, in place."""
    cv2.fillPoly(picture, [corners(outline)], value, cv2.LINE_8, SHIFT)


def distance(points: Floats, one: int, other: int) -> float:
    return float(np.linalg.norm(points[one] - points[other]))
