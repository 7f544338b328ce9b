"""The colour coding of a video: conversion between RGB and Y'CbCr, and its planes in memory."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import Floats

ACROSS = 72
"""Width in pixels to which a face is scaled for sampling: each sample is then a mean over about 1% of the width."""

# Kr, Kb of ITU-R BT.709, BT.601 and BT.2020 by their numbers in ITU-T H.273.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
FULL_RANGE = 2
"""AVCOL_RANGE_JPEG of FFmpeg."""


@dataclass(frozen=True)
class Coding:
    """The matrix (number in H.273) and the range of 8-bit code values."""

    matrix: int = 6
    full: bool = True

    @property
    def black(self) -> float:
        """Code value of black in Y'."""
        return 0.0 if self.full else 16.0

    def encode(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert (h, w, 3) RGB 0-255 to (h, w, 3) code values of Y', Cb, Cr, without rounding."""
        return np.asarray(cv2.transform(rgb.astype(np.float32), self._forward()), np.float32)

    def decode(self, codes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Convert code values to RGB, rounded and clipped."""
        forward = self._forward().astype(np.float64)
        inverse = np.linalg.inv(forward[:, :3])
        matrix = np.hstack([inverse, -inverse @ forward[:, 3:]])
        return np.asarray(np.clip(np.rint(cv2.transform(codes, matrix)), 0, 255), np.uint8)

    def _forward(self) -> NDArray[np.float32]:
        red, blue = WEIGHTS.get(self.matrix, WEIGHTS[6])
        green = 1 - red - blue
        luma, chroma = (1.0, 1.0) if self.full else (219 / 255, 224 / 255)
        y = np.array([red, green, blue])
        cb = (np.array([0, 0, 1]) - y) / (2 * (1 - blue))
        cr = (np.array([1, 0, 0]) - y) / (2 * (1 - red))
        offset = np.array([[self.black], [128], [128]])
        return np.hstack([np.stack([y * luma, cb * chroma, cr * chroma]), offset]).astype(np.float32)


def coding_of(matrix: int, colour_range: int, height: int) -> Coding:
    """Return the coding for a stream's tags. Without tags, assume BT.709 for HD and BT.601 below, as players do."""
    if matrix not in WEIGHTS:
        matrix = 1 if height >= 720 else 6
    return Coding(matrix, colour_range == FULL_RANGE)


@dataclass(frozen=True)
class Planes:
    """Views of a picture's Y', Cb and Cr, 8 bit. If `halved`, chroma has half the size in each direction."""

    luma: NDArray[np.uint8]
    blue: NDArray[np.uint8]
    red: NDArray[np.uint8]

    @property
    def halved(self) -> bool:
        return bool(self.blue.shape[1] != self.luma.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.luma.shape[1], self.luma.shape[0]

    def window(self, left: int, top: int, right: int, bottom: int) -> "Planes":
        """Return a part of the picture. Its edges must be even if chroma is halved."""
        step = 2 if self.halved else 1
        chroma = np.s_[top // step : bottom // step, left // step : right // step]
        return Planes(self.luma[top:bottom, left:right], self.blue[chroma], self.red[chroma])


def planes_of(codes: NDArray[np.uint8]) -> Planes:
    """Copy the three channels of (h, w, 3) code values."""
    return Planes(*(np.ascontiguousarray(codes[..., i]) for i in range(3)))


def look(planes: Planes, points: Floats) -> NDArray[np.uint8]:
    """Return the colours at the points of a face's mesh: (468, 3) code values of Y', Cb, Cr.

    They show the light on the face and distinguish people. Points outside the picture get the colour of its edge.
    """
    edges = geometry.window(geometry.box(points), 0.06, planes.size)
    if edges is None:
        return np.full((mesh.SURFACE, 3), 128, np.uint8)
    part = planes.window(*edges)
    places = (points[: mesh.SURFACE, :2] - np.array(edges[:2], np.float32)) / (edges[2] - edges[0], edges[3] - edges[1])
    return np.stack([_sample(plane, places) for plane in (part.luma, part.blue, part.red)], 1)


def _sample(plane: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Return the values at places that are fractions (0 to 1) of the plane's width and height."""
    width = plane.shape[1]
    scale = min(1.0, ACROSS / width)
    small = plane if scale == 1 else cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    at = (places * (small.shape[1], small.shape[0]) - 0.5).astype(np.float32)
    found = cv2.remap(small, at[:, 0], at[:, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8).reshape(-1)
