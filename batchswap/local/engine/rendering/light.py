"""Put the new face into the target's light: give it the low frequencies of the face that it replaces.

A smooth field over the texture holds the difference in brightness and tint to the target's skin. It is computed only
from the colours at the mesh's points, so hair or a hand in front of the face causes no edges.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats, rise
from batchswap.local.engine.media.colour_planes import Coding, look, planes_of
from batchswap.local.engine.rendering import hair
from batchswap.local.engine.rendering.new_face import Texture

NEUTRAL = (0.0, 128.0, 128.0)
"""Code values of Cb and Cr for grey; luma has no such value."""
CELLS = 24
"""Size of the field in each direction."""
REACH = 0.09
"""Distance, relative to the texture's width, over which the colour at a point represents the skin around it."""
CONTRAST = np.array([[0.6, 0.4, 0.4], [1.4, 1.3, 1.3]], np.float32)
"""Limits, for Y', Cb and Cr, of the factor that adapts the new face's fine detail to the target's, in addition to the
effect of the overall light."""
LIT = (0.06, 1.05)
"""Limits of the factor by which the overall light scales contrast. Darkness has less contrast."""
FEATURE = (16.0, 44.0)
"""Luma differences: a wrinkle is below the first. An eye, a brow or the rim of glasses, which keep their own contrast,
are above the second."""
TINTED = (0.1, 0.5)
"""Luma above black, relative to the skin around. Below the first value, a pupil or a rim is dark on any skin and keeps
its tint. Above the second, the texture gets the full difference between the two skins' tints."""
GREY = (0.5, 1.5)
"""Deviation of the target's chroma over the face, in code values, in full light. Below the first value the footage is
black and white, above the second it is in colour. A face in colour has 2.5 to 10, one in a grey clip 0."""
LIKENESS = 0.7
"""Part of the difference in contrast that is adapted. Less than 1, because wrinkles and freckles are individual."""


SKIN = np.setdiff1d(np.arange(mesh.SURFACE), [*mesh.FEATURES, *mesh.OVAL, *mesh.ABOVE_BROWS])


@dataclass(frozen=True)
class Light:
    """Precomputed values of one texture, whose colours at the mesh's points are `colours` (468, 3).

    `planes` (3, h, w) are the texture itself, and `tinted` (h, w) is the share of another tint that it gets, 0 to 1.
    `skin` (h, w) is 0 for hair. `fine` (3, h, w) is the detail of the skin, without brows, eyes and lips. The weights
    of the points are `near` (cells², 468) for each cell, `own` (468, 468) for each point, and `wide` (468, 468) for
    each point over larger distances.
    """

    coding: Coding
    planes: Floats
    tinted: Floats
    colours: Floats
    near: Floats
    own: Floats
    wide: Floats
    skin: Floats
    fine: Floats

    def relit(self, target: Floats, visible: Floats) -> ByteArray:
        """Return the texture in the light of a face with the colours `target` (468, 3), as far as `visible` (468,).

        The result (h, w, 4) has 8-bit code values and their opacity: 255 for skin, 0 for hair.
        """
        coarse, fine, shift = self.field(target, visible)
        seen = (self.near @ hair.bare(target, self.coding)).reshape(CELLS, CELLS)
        size = self.skin.shape[::-1]
        layers = []
        for i in range(3):  # OpenCV is fast on single planes, and rounds and clips at once
            neutral = float(NEUTRAL[i] * (1 - coarse[i]))  # keeps grey unchanged
            mixed = cv2.addWeighted(self.planes[i], coarse[i], self.fine[i], fine[i] - coarse[i], neutral)
            tint = cv2.resize(shift[i] - neutral, size)
            layers.append(cv2.add(mixed, cv2.multiply(tint, self.tinted) if i else tint, dtype=cv2.CV_8U))
        layers.append(cv2.multiply(self.skin, cv2.resize(seen, size), scale=255, dtype=cv2.CV_8U))
        return np.asarray(cv2.merge(layers), np.uint8)

    def field(self, target: Floats, visible: Floats) -> tuple[Floats, Floats, Floats]:
        """Return factors for everything (3,) and for fine detail (3,), and the summand (3, cells, cells)."""
        here, there = self._smooth(target, visible)
        black = self.coding.black
        lit = (there[:, 0].mean() - black) / max(1.0, float(here[:, 0].mean()) - black)
        light = float(np.clip(lit, *LIT))
        spread = target[:, 1:].std(0).max() / light
        coarse = light * np.array([1.0, *[float(rise(spread, *GREY))] * 2], np.float32)
        fine = np.clip((self.detail(target) / self._detail) ** LIKENESS, *(CONTRAST * coarse))
        return coarse, fine, np.ascontiguousarray((there - here * coarse).T.reshape(3, CELLS, CELLS), np.float32)

    def expected(self, target: Floats, visible: Floats) -> Floats:
        """Return (cells, cells, 4): the colour of the skin, also where it is hidden, and the degree of hiding."""
        hidden = self.near @ (1 - visible)
        return np.column_stack([self._smooth(target, visible)[1], hidden]).reshape(CELLS, CELLS, 4).astype(np.float32)

    def _smooth(self, target: Floats, visible: Floats) -> tuple[Floats, Floats]:
        """Return the smooth colours (cells², 3) of the texture's skin and of the target's."""
        trust = (self._trust(target) * (0.001 + visible))[:, None]
        sums = self.near @ (trust * np.hstack([self.colours, target, np.ones_like(trust)]))
        return sums[:, :3] / sums[:, 6:], sums[:, 3:6] / sums[:, 6:]

    @functools.cached_property
    def _detail(self) -> Floats:
        return self.detail(self.colours)

    def detail(self, colours: Floats) -> Floats:
        """Return (3,): the typical difference between a point of skin and the skin around it, without outliers."""
        apart = np.abs(colours - self.own @ colours)[SKIN]
        typical = np.partition(apart, round(0.7 * len(apart)), axis=0)[round(0.7 * len(apart))]
        return np.asarray(np.maximum(0.4, typical), np.float32)

    def _trust(self, target: Floats) -> Floats:
        """Return weights that are low for points unlike their wider surroundings: hair, a hand, a highlight."""
        black = self.coding.black
        ratio = np.log(np.maximum(1, target[:, 0] - black) / np.maximum(1, self.colours[:, 0] - black))
        chroma = (target[:, 1:] - self.colours[:, 1:]) / 16
        seen = np.column_stack([ratio / 0.25, chroma])
        away = np.abs(seen - self.wide @ seen).max(1)
        bare = hair.bare(target, self.coding) * hair.bare(self.colours, self.coding)
        return np.asarray((0.02 + bare) / (1 + away**2), np.float32)


def light_for(texture: Texture, coding: Coding) -> Light:
    """Compute the values that stay the same for a texture."""
    codes = texture.codes
    planes = planes_of(np.asarray(np.clip(np.rint(codes), 0, 255), np.uint8))
    height, width = codes.shape[:2]
    colours = look(planes, texture.points).astype(np.float32)
    across, down = np.meshgrid((np.arange(CELLS) + 0.5) / CELLS * width, (np.arange(CELLS) + 0.5) / CELLS * height)
    cells = np.stack([across.ravel(), down.ravel()], 1).astype(np.float32)
    points = texture.points[: mesh.SURFACE]
    weights = _weights()
    near = (_kernel(cells, points, REACH * width) + 1e-4 * _kernel(cells, points, 0.4 * width) + 1e-7) * weights
    own = _kernel(points, points, REACH * width) * weights
    wide = _kernel(points, points, 0.3 * width) * weights
    around = cv2.resize((_even(near) @ colours)[:, :1].reshape(CELLS, CELLS), (width, height))
    skin = hair.bare_texture(codes, texture.points, colours, coding)
    tinted = rise((codes[..., 0] - coding.black) / np.maximum(1, around - coding.black), *TINTED)
    return Light(
        coding=coding,
        planes=_planar(codes),
        tinted=tinted,
        colours=colours,
        near=_even(near),
        own=_even(own),
        wide=_even(wide),
        skin=np.ascontiguousarray(skin),
        fine=_planar(_fine(codes, _even(near) @ colours)),
    )


def _planar(codes: Floats) -> Floats:
    """Convert (h, w, 3) to (3, h, w)."""
    return np.ascontiguousarray(codes.transpose(2, 0, 1), np.float32)


def _fine(codes: Floats, smooth: Floats) -> Floats:
    """Return the codes without low frequencies (`smooth`: cells², 3) and without eyes, brows and other features."""
    height, width = codes.shape[:2]
    apart = codes - cv2.resize(smooth.reshape(CELLS, CELLS, 3).astype(np.float32), (width, height))
    return np.asarray(apart * (1 - rise(np.abs(apart[..., :1]), *FEATURE)), np.float32)


def _even(weights: Floats) -> Floats:
    """Normalise each row to a sum of 1."""
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _weights() -> Floats:
    weights = np.ones(mesh.SURFACE, np.float32)
    weights[list(mesh.FEATURES)] = 0.02
    weights[list(mesh.OVAL)] = 0.35  # half of them lie on hair or on the background
    return weights


def _kernel(places: Floats, points: Floats, reach: float) -> Floats:
    square = ((places[:, None] - points[None]) ** 2).sum(2)
    return np.asarray(np.exp(-0.5 * square / reach**2), np.float32)
