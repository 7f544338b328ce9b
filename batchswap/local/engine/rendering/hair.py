"""Distinguish hair from skin: hair over the forehead belongs to the target's head, not to the swapped face."""

import cv2
import numpy as np

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, distance, fill, rise
from batchswap.local.engine.media.colour_planes import Coding

DARKER = (0.22, 0.5)
"""Logarithm of the cheeks' luma over the forehead's: skin below the first value, hair above the second."""
RIM = 0.13
"""Width of the rim, relative to the face's width, in which a texture may show something other than skin."""
OTHER = (9.0, 20.0)
"""Difference of chroma in code values: skin below the first value, hair above the second."""


def bare(colours: Floats, coding: Coding) -> Floats:
    """Return (468,) from colours (468, 3): 1 for skin, 0 for hair. Only points of the forehead can be hair."""
    found = np.ones(mesh.SURFACE, np.float32)
    forehead = list(mesh.ABOVE_BROWS)
    found[forehead] = likeness(colours[forehead], reference(colours), coding)
    return found


def bare_texture(codes: Floats, points: Floats, colours: Floats, coding: Coding) -> Floats:
    """Return the same for a texture: (h, w) from codes (h, w, 3), points (478, 2) and colours (468, 3)."""
    zone = np.zeros(codes.shape[:2], np.uint8)
    fill(zone, points[list(mesh.OVAL)], 1)
    # The rim of cheeks and jaw too: an ear, a collar or the edge of a beard must not appear on another person's cheek.
    zone[cv2.distanceTransform(zone, cv2.DIST_L2, 5) > RIM * distance(points, *mesh.SIDES)] = 0
    fill(zone, points[list(mesh.FOREHEAD)], 1)
    soft = max(0.5, 0.012 * codes.shape[1])
    smooth = cv2.GaussianBlur(codes.astype(np.float32), (0, 0), soft)
    found = np.where(zone > 0, likeness(smooth, reference(colours), coding), 1).astype(np.float32)
    # Narrow shadows at the hair's edge count as hair.
    around = cv2.erode(found, np.ones((3, 3), np.uint8), iterations=max(1, round(0.02 * codes.shape[1])))
    return np.asarray(cv2.GaussianBlur(around, (0, 0), 2 * soft), np.float32)


def reference(colours: Floats) -> Floats:
    """Return the colour (3,) of this face's skin."""
    return np.asarray(np.median(colours[list(mesh.CHEEKS)], 0), np.float32)


def likeness(colours: Floats, skin: Floats, coding: Coding) -> Floats:
    """Return (…) from colours (…, 3): their similarity to the skin, 0 to 1."""
    darker = np.log(max(1.0, float(skin[0]) - coding.black) / np.maximum(1, colours[..., 0] - coding.black))
    other = np.abs(colours[..., 1:] - skin[1:]).max(-1)
    return np.asarray((1 - rise(darker, *DARKER)) * (1 - rise(other, *OTHER)), np.float32)
