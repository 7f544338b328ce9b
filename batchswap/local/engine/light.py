"""Puts the new face into the target's light: its low frequencies are those of the face that it replaces.

A smooth field over the texture says, place by place, how much lighter and of what tint the target's skin is. It
comes from the colours at the mesh's points only, so that hair or a hand before the face cannot draw edges into it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from batchswap.local.engine import hair, mesh
from batchswap.local.engine.coding import Coding, Planes
from batchswap.local.engine.geometry import Bytes, Floats
from batchswap.local.engine.newface import Texture
from batchswap.local.engine.samples import look
from batchswap.local.engine.shapes import rise

CELLS = 24
"""The field's size in each direction."""
REACH = 0.09
"""Of the texture's width: how far the colour at a point speaks for the skin around it."""
CONTRAST = np.array([[0.6, 0.4, 0.4], [1.25, 1.2, 1.2]], np.float32)
"""Limits, for Y', Cb and Cr, of how the new face's fine detail is weakened or strengthened towards the target's."""
LIT = (0.35, 1.05)
"""Limits of how the light as a whole scales contrast: in the dark it is less."""
FEATURE = (16.0, 44.0)
"""Steps of luma between a wrinkle and an eye, a brow or the rim of glasses, which keep their own contrast."""
LIKENESS = 0.7
"""How far its contrast goes to the target's (1: all the way): wrinkles and freckles are part of who one is."""


SKIN = np.setdiff1d(np.arange(mesh.SURFACE), [*mesh.FEATURES, *mesh.OVAL, *mesh.ABOVE_BROWS])


@dataclass(frozen=True)
class Light:
    """For one texture, whose colours at the mesh's points are `colours` (468, 3).

    How much each point has to say: at each cell `near` (cells², 468), at each point `own` (468, 468), and at each
    point over larger distances `wide` (468, 468). `skin` (h, w) is 0 where the texture shows hair; `fine` (h, w, 3)
    is what its skin differs from the skin around, without brows, eyes and lips.
    """

    texture: Texture
    coding: Coding
    colours: Floats
    near: Floats
    own: Floats
    wide: Floats
    skin: Floats
    fine: Floats

    def relit(self, target: Floats) -> Bytes:
        """The texture in the light of a face whose colours (468, 3) are `target`.

        (h, w, 4): 8-bit code values, and how much of it is to be seen: 255 all, 0 nothing, for hair is no skin.
        """
        coarse, fine, shift = self.field(target)
        seen = (self.near @ hair.bare(target, self.coding)).reshape(CELLS, CELLS)
        height, width = self.texture.codes.shape[:2]
        fields = cv2.resize(np.dstack([shift, seen]).astype(np.float32), (width, height))
        codes = self.texture.codes * np.float32(coarse) + fields[..., :3] + self.fine * (fine - np.float32(coarse))
        return np.asarray(cv2.convertScaleAbs(np.dstack([codes, 255 * self.skin * fields[..., 3]])), np.uint8)

    def field(self, target: Floats) -> tuple[float, Floats, Floats]:
        """What to multiply everything by, then fine detail by (3,), and what to add (cells, cells, 3)."""
        near = self.near * self._trust(target)
        near /= near.sum(1, keepdims=True)
        here, there = near @ self.colours, near @ target
        fine = np.clip((self.detail(target) / self.detail(self.colours)) ** LIKENESS, *CONTRAST)
        black = self.coding.black
        lit = (there[:, 0].mean() - black) / max(1.0, float(here[:, 0].mean()) - black)
        coarse = float(np.clip(lit, *LIT))
        return coarse, fine, (there - here * coarse).reshape(CELLS, CELLS, 3)

    def detail(self, colours: Floats) -> Floats:
        """(3,): how much skin differs from the skin around it, as a typical deviation that outliers do not move."""
        apart = np.abs(colours - self.own @ colours)[SKIN]
        return np.asarray(np.maximum(0.4, np.percentile(apart, 70, axis=0)), np.float32)

    def _trust(self, target: Floats) -> Floats:
        """Less for points whose colour does not fit their wide surroundings: hair, a hand, a highlight."""
        black = self.coding.black
        ratio = np.log(np.maximum(1, target[:, 0] - black) / np.maximum(1, self.colours[:, 0] - black))
        chroma = (target[:, 1:] - self.colours[:, 1:]) / 16
        seen = np.column_stack([ratio / 0.25, chroma])
        away = np.abs(seen - self.wide @ seen).max(1)
        bare = hair.bare(target, self.coding) * hair.bare(self.colours, self.coding)
        return np.asarray((0.02 + bare) / (1 + away**2), np.float32)


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
    weights = _weights()
    near = (_kernel(cells, points, REACH * width) + 1e-4 * _kernel(cells, points, 0.4 * width) + 1e-7) * weights
    own = _kernel(points, points, REACH * width) * weights
    wide = _kernel(points, points, 0.3 * width) * weights
    skin = hair.bare_texture(codes, texture.points, colours, coding)
    return Light(
        texture, coding, colours, _even(near), _even(own), _even(wide), skin, _fine(codes, _even(near) @ colours)
    )


def _fine(codes: Floats, smooth: Floats) -> Floats:
    """What is left of the codes without their low frequencies (cells², 3) and without all that stands out clearly."""
    height, width = codes.shape[:2]
    apart = codes - cv2.resize(smooth.reshape(CELLS, CELLS, 3).astype(np.float32), (width, height))
    return np.asarray(apart * (1 - rise(np.abs(apart[..., :1]), *FEATURE)), np.float32)


def _even(weights: Floats) -> Floats:
    """Each row's sum is 1."""
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _weights() -> Floats:
    weights = np.ones(mesh.SURFACE, np.float32)
    weights[list(mesh.FEATURES)] = 0.02
    weights[list(mesh.OVAL)] = 0.35  # half of them stand on hair or on what is behind
    return weights


def _kernel(places: Floats, points: Floats, reach: float) -> Floats:
    square = ((places[:, None] - points[None]) ** 2).sum(2)
    return np.asarray(np.exp(-0.5 * square / reach**2), np.float32)
