"""Fit one new face into one picture: texture, light, warp and blend, in this order."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.media.colour_planes import Coding, Planes
from batchswap.local.engine.rendering.light import Light, light_for
from batchswap.local.engine.rendering.new_face import NewFace, Texture
from batchswap.local.engine.rendering.warp import Warp, bend
from batchswap.local.engine.tracking import occlusion
from batchswap.local.engine.tracking.trajectory import Pose


@dataclass(frozen=True)
class Fitter:
    """Fits a new face into pictures and caches its lights between frames."""

    face: NewFace
    coding: Coding
    _lights: dict[int, Light] = field(default_factory=dict, repr=False)

    def fit(self, planes: Planes, pose: Pose) -> bool:
        """Change `planes` in place. Return False if the face lies outside the picture."""
        texture = self.face.texture(self.coding, geometry.width(pose.points))
        warp = bend(pose.points, texture.points, planes.size)
        if warp is None or not warp.mask.any():
            return False
        light = self._light(texture)
        if pose.visible.min() < 0.5:
            skin = remap(light.expected(pose.colours, pose.visible), warp.places, texture)
            warp = replace(warp, mask=warp.mask * occlusion.clear(planes.window(*warp.window), skin))
        blend(planes, warp, light.relit(pose.colours, pose.visible))
        return True

    def _light(self, texture: Texture) -> Light:
        key = id(texture)  # the ids stay unique, because the face keeps all its textures
        if key not in self._lights:
            self._lights[key] = light_for(texture, self.coding)
        return self._lights[key]


def remap(field: Floats, places: Floats, texture: Texture) -> Floats:
    """Return the values of a field over the texture (cells, cells, n) at places in the texture (h, w, 2)."""
    height, width = texture.codes.shape[:2]
    scale = np.array([field.shape[1] / width, field.shape[0] / height], np.float32)
    return np.asarray(
        cv2.remap(field, (places + 0.5) * scale - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def blend(planes: Planes, warp: Warp, texture: NDArray[np.uint8]) -> None:
    """Change `planes` in place, but only inside the mask.

    `texture` (h, w, 4) has code values and their opacity.
    """
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
