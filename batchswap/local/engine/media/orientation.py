"""The orientation of a coded picture: quarter turns, a mirror, or both.

Sources: ISO/IEC 14496-12, 6.2.2; the display matrix of FFmpeg (libavutil/display.h).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

ONE = 1 << 16
"""The number 1 in the first two columns of a matrix, and in its shift."""
UNIT = 1 << 30
"""The number 1 in its last column."""
SLANT = math.radians(1)
"""A matrix that differs by more than this from quarter turns is kept unchanged."""

Matrix = Sequence[int]
"""Nine values a, b, u, c, d, v, x, y, w: the pixel (p, q) is shown at (a p + c q + x, b p + d q + y)."""


@dataclass(frozen=True)
class Orientation:
    """Mirror the picture from left to right if `mirrored`, then turn it by np.rot90(picture, turns)."""

    turns: int = 0
    mirrored: bool = False


def keep_matrix(frame: VideoFrame) -> Matrix | None:
    """Attach a decoded frame's matrix to it, and return it. None: it has none, or one that would hide the picture.

    PyAV cannot read the side data after the frame has been made writable.
    """
    frame.opaque = read_matrix(frame)
    return matrix_of(frame)


def matrix_of(frame: VideoFrame) -> Matrix | None:
    """Return the matrix that `keep_matrix` attached."""
    return cast("Matrix | None", frame.opaque)


def read_matrix(frame: VideoFrame) -> Matrix | None:
    for data in cast("Iterable[SideData]", frame.side_data):
        if data.type == Type.DISPLAYMATRIX:
            matrix = [int(value) for value in np.frombuffer(bytes(data), np.int32)]
            return matrix if determinant(matrix) else None
    return None


def determinant(matrix: Matrix) -> int:
    return matrix[0] * matrix[4] - matrix[1] * matrix[3]


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation, one of eight, that is nearest to the frame's matrix."""
    matrix = matrix_of(frame)
    if matrix is None:
        return Orientation()
    mirrored = determinant(matrix) < 0
    return Orientation(nearest(unmirrored(matrix, 0) if mirrored else matrix), mirrored)


def nearest(matrix: Matrix) -> int:
    """Return the nearest number of counterclockwise quarter turns for a matrix without a mirror."""
    return round(angle(matrix) / (math.pi / 2)) % 4


def angle(matrix: Matrix) -> float:
    a, b, _, c, d, *_ = matrix
    return math.atan2(c - b, a + d)


def unmirrored(matrix: Matrix, width: int) -> Matrix:
    """Return the matrix for the same picture, `width` pixels wide, with its pixels mirrored from left to right."""
    a, b, u, c, d, v, x, y, w = matrix
    return [-a, -b, u, c, d, v, x + a * width, y + b * width, w]


def matrix_to_write(frame: VideoFrame) -> Matrix | None:
    """Return the matrix for the result, whose pixels are not mirrored, or None if it needs none.

    A scale is left out: the aspect ratio of the pixels already includes it.
    """
    matrix = matrix_of(frame)
    if matrix is None:
        return None
    if determinant(matrix) < 0:
        matrix = unmirrored(matrix, frame.width)
    turns = nearest(matrix)
    slant = math.remainder(angle(matrix) - turns * math.pi / 2, 2 * math.pi)
    return quarters(turns, frame.width, frame.height) if abs(slant) < SLANT else matrix


def quarters(turns: int, width: int, height: int) -> Matrix | None:
    """Return the matrix for counterclockwise quarter turns that keep the picture's corner at (0, 0)."""
    match turns:
        case 1:
            return [0, -ONE, 0, ONE, 0, 0, 0, width * ONE, UNIT]
        case 2:
            return [-ONE, 0, 0, 0, -ONE, 0, width * ONE, height * ONE, UNIT]
        case 3:
            return [0, ONE, 0, -ONE, 0, 0, height * ONE, 0, UNIT]
    return None
