"""Tells hair from skin: a fringe belongs to the head that stays, not to the face that is swapped."""

import cv2
import numpy as np

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, distance, fill, rise
from batchswap.local.engine.media.colour_planes import Coding

DARKER = (0.22, 0.5)
"""Logarithm of the cheeks' light over the forehead's, between skin and hair. A bright forehead is skin."""
RIM = 0.13
"""Of the face's width: so far in from its outline a texture may show something else than skin."""
OTHER = (9.0, 20.0)
"""Code values of chroma between skin and hair."""


def bare(colours: Floats, coding: Coding) -> Floats:
    """(468,) from colours (468, 3): 1 skin, 0 hair. Only points of the forehead are ever hair."""
    found = np.ones(mesh.SURFACE, np.float32)
    forehead = list(mesh.ABOVE_BROWS)
    found[forehead] = likeness(colours[forehead], reference(colours), coding)
    return found


def bare_texture(codes: Floats, points: Floats, colours: Floats, coding: Coding) -> Floats:
    """(h, w) for a texture (h, w, 3) with its points (478, 2) and colours (468, 3); with soft edges."""
    zone = np.zeros(codes.shape[:2], np.uint8)
    fill(zone, points[list(mesh.OVAL)], 1)
    # Along the cheeks and the jaw too: an ear, a collar or a beard's end is not to be painted onto another's cheek.
    zone[cv2.distanceTransform(zone, cv2.DIST_L2, 5) > RIM * distance(points, *mesh.SIDES)] = 0
    fill(zone, points[list(mesh.FOREHEAD)], 1)
    soft = max(0.5, 0.012 * codes.shape[1])
    smooth = cv2.GaussianBlur(codes.astype(np.float32), (0, 0), soft)
    found = np.where(zone > 0, likeness(smooth, reference(colours), coding), 1).astype(np.float32)
    # Narrow shadows at the hair's edge go with the hair.
    around = cv2.erode(found, np.ones((3, 3), np.uint8), iterations=max(1, round(0.02 * codes.shape[1])))
    return np.asarray(cv2.GaussianBlur(around, (0, 0), 2 * soft), np.float32)


def reference(colours: Floats) -> Floats:
    """(3,): this face's skin."""
    return np.asarray(np.median(colours[list(mesh.CHEEKS)], 0), np.float32)


def likeness(colours: Floats, skin: Floats, coding: Coding) -> Floats:
    """(…) from (…, 3): how much a colour is that of skin."""
    darker = np.log(max(1.0, float(skin[0]) - coding.black) / np.maximum(1, colours[..., 0] - coding.black))
    other = np.abs(colours[..., 1:] - skin[1:]).max(-1)
    return np.asarray((1 - rise(darker, *DARKER)) * (1 - rise(other, *OTHER)), np.float32)
