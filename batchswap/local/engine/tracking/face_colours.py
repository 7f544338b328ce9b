"""The colours of a face at the points of its mesh: what the light does there, and what tells two people apart."""

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.media.colour_planes import Planes

ACROSS = 72
"""Pixels that the face is brought down to: each sample is then a mean over a hundredth of it."""


def look(planes: Planes, points: Floats) -> NDArray[np.uint8]:
    """(468, 3) code values of Y', Cb, Cr. Points outside the picture get the colour of its edge."""
    edges = geometry.window(geometry.box(points), 0.06, planes.size)
    if edges is None:
        return np.full((mesh.SURFACE, 3), 128, np.uint8)
    part = planes.window(*edges)
    places = (points[: mesh.SURFACE, :2] - np.array(edges[:2], np.float32)) / (edges[2] - edges[0], edges[3] - edges[1])
    return np.stack([_sample(plane, places) for plane in (part.luma, part.blue, part.red)], 1)


def _sample(plane: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Values at places given as parts (0 to 1) of the plane's width and height."""
    width = plane.shape[1]
    scale = min(1.0, ACROSS / width)
    small = plane if scale == 1 else cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    at = (places * (small.shape[1], small.shape[0]) - 0.5).astype(np.float32)
    found = cv2.remap(small, at[:, 0], at[:, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8).reshape(-1)
