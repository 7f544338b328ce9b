"""Puts the warped, relit face into the planes of a picture. Outside its mask not one value changes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.media.colour_planes import Planes
from batchswap.local.engine.rendering.warp import Warp


def blend(planes: Planes, warp: Warp, texture: NDArray[np.uint8]) -> None:
    """Change `planes` in place: `texture` (h, w, 4) is in the same code values, and how much is to be seen."""
    part = planes.window(*warp.window)
    face = cv2.remap(texture, warp.places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = warp.mask * (face[..., 3] / np.float32(255))
    mix(part.luma, face[..., 0], mask)
    colours = face[..., 1:3]
    if planes.halved:
        size = (part.blue.shape[1], part.blue.shape[0])
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        colours = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    mix(part.blue, colours[..., 0], mask)
    mix(part.red, colours[..., 1], mask)


def mix(plane: NDArray[np.uint8], new: NDArray[np.uint8], mask: NDArray[np.float32]) -> None:
    difference = new.astype(np.float32) - plane
    plane[...] = np.rint(plane + difference * mask).astype(np.uint8)
