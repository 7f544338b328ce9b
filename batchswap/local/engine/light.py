"""Puts the new face into the target's light: its low frequencies are those of the face that it replaces.

A smooth field over the texture says, place by place, how much lighter and of what tint the target's skin is. It
comes from the colours at the mesh's points only, so that hair or a hand before the face cannot draw edges into it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine import mesh
from batchswap.local.engine.coding import Coding, Planes
from batchswap.local.engine.geometry import Floats
from batchswap.local.engine.newface import Texture
from batchswap.local.engine.samples import look

CELLS = 24
"""The field's size in each direction."""
REACH = 0.09
"""Of the texture's width: how far the colour at a point speaks for the skin around it."""
GAINS = (0.25, 3.0)
"""Limits of what lightening may do."""


@dataclass(frozen=True)
class Light:
    """For one texture. `near` (cells², 468) is how much each point has to say at each cell."""

    texture: Texture
    coding: Coding
    colours: Floats
    near: Floats
    wide: Floats

    def relit(self, target: Floats) -> NDArray[np.uint8]:
        """The texture (h, w, 3), 8-bit code values, in the light of a face whose colours (468, 3) are `target`."""
        gain, shift = self.field(target)
        height, width = self.texture.codes.shape[:2]
        size = (width, height)
        codes = self.texture.codes
        lift = cv2.resize(gain, size, interpolation=cv2.INTER_LINEAR)
        tint = cv2.resize(shift, size, interpolation=cv2.INTER_LINEAR)
        luma = (codes[..., 0] - self.coding.black) * lift + self.coding.black
        chroma = (codes[..., 1:] - 128) * np.clip(lift, 0.6, 1.5)[..., None] + tint
        return cv2.convertScaleAbs(np.dstack([luma, chroma]))  # type: ignore[no-any-return]

    def field(self, target: Floats) -> tuple[Floats, Floats]:
        """Gain of Y' (cells, cells) and, to add to chroma scaled by it, the tint (cells, cells, 2)."""
        said = self._trust(target)
        near = self.near * said
        near /= near.sum(1, keepdims=True)
        here, there = near @ self.colours, near @ target
        black = self.coding.black
        gain = np.clip((there[:, 0] - black) / np.maximum(1, here[:, 0] - black), *GAINS)
        tint = there[:, 1:] - (here[:, 1:] - 128) * np.clip(gain, 0.6, 1.5)[:, None]
        return gain.reshape(CELLS, CELLS), tint.reshape(CELLS, CELLS, 2)

    def _trust(self, target: Floats) -> Floats:
        """Less for points whose colour does not fit their wide surroundings: hair, a hand, a highlight."""
        black = self.coding.black
        ratio = np.log(np.maximum(1, target[:, 0] - black) / np.maximum(1, self.colours[:, 0] - black))
        chroma = (target[:, 1:] - self.colours[:, 1:]) / 16
        seen = np.column_stack([ratio / 0.25, chroma])
        away = np.abs(seen - self.wide @ seen).max(1)
        return np.asarray(1 / (1 + away**2), np.float32)


def light_for(texture: Texture, coding: Coding) -> Light:
    """What can be worked out once for a texture."""
    codes = texture.codes
    rounded = cv2.convertScaleAbs(codes)
    planes = Planes(*(np.ascontiguousarray(rounded[..., i]) for i in range(3)))
    height, width = codes.shape[:2]
    colours = look(planes, texture.points).astype(np.float32)
    across, down = np.meshgrid((np.arange(CELLS) + 0.5) / CELLS * width, (np.arange(CELLS) + 0.5) / CELLS * height)
    cells = np.stack([across.ravel(), down.ravel()], 1).astype(np.float32)
    points = texture.points[: mesh.SURFACE]
    skin = _skin_weights()
    near = _kernel(cells, points, REACH * width) + 1e-4 * _kernel(cells, points, 0.4 * width) + 1e-7
    wide = (_kernel(points, points, 0.3 * width) * skin).astype(np.float32)
    return Light(texture, coding, colours, (near * skin).astype(np.float32), wide / wide.sum(1, keepdims=True))


def _skin_weights() -> Floats:
    weights = np.ones(mesh.SURFACE, np.float32)
    weights[list(mesh.FEATURES)] = 0.02
    weights[list(mesh.OVAL)] = 0.35  # half of them stand on hair or on what is behind
    return weights


def _kernel(places: Floats, points: Floats, reach: float) -> Floats:
    square = ((places[:, None] - points[None]) ** 2).sum(2)
    return np.asarray(np.exp(-0.5 * square / reach**2), np.float32)
