"""Smooth a face's points over time. There is no lag, because later frames are available too.

The movement of the head (place, size, tilt) and the shape of the face are smoothed separately. A parabola over the
frames around is fitted to the movement (Savitzky and Golay, 1964). The place follows it only within the range of
noise, so the face stays on a shaking head. The shape is averaged over the same frames, but each point only with frames
in which it is in nearly the same place, so a blink remains.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Floats

REACH = 4
"""Number of frames before and after."""
SAME_PLACE = 0.012
"""Distance relative to the face's width. A larger one is a movement of the face, not noise."""
NOISE = 0.002
"""Error of the mean of all points, relative to the face's width. A larger distance from the parabola is a movement of
the head; without it, the face would slide on the head."""


def smooth(frames: Floats) -> Floats:
    """Smooth points (2 r + 1, n, 3) of consecutive frames. Return (n, 3) for the middle frame."""
    reach = len(frames) // 2
    middle = np.asarray(frames[reach])
    if reach == 0:
        return middle
    flat = frames[..., 0].astype(np.float64) + 1j * frames[..., 1]
    centres = flat.mean(1)
    shapes = flat - centres[:, None]
    turns = (shapes.conj() * shapes[reach]).sum(1) / np.maximum(1e-9, (np.abs(shapes) ** 2).sum(1))
    shape, depth = _average(shapes * turns[:, None], frames[..., 2], geometry.width(middle))
    fit = _parabola(reach)
    turn = np.exp(-fit @ np.log(turns))
    step = complex(fit @ centres) - centres[reach]
    step /= 1 + (abs(step) / (NOISE * geometry.width(middle))) ** 2
    placed = shape * turn + centres[reach] + step
    return np.stack([placed.real, placed.imag, depth], 1).astype(np.float32)


def _average(
    shapes: NDArray[np.complex128], depths: Floats, width: float
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Return each point's mean over the frames, weighted by nearness in time and place."""
    reach = len(shapes) // 2
    away = np.abs(shapes - shapes[reach]) / (SAME_PLACE * width)
    weights = np.exp(-0.5 * away**2) * _bell(reach)[:, None]
    weights /= weights.sum(0)
    return (shapes * weights).sum(0), (depths * weights).sum(0)


@functools.cache
def _bell(reach: int) -> NDArray[np.float64]:
    time = np.arange(-reach, reach + 1)
    return np.asarray(np.exp(-0.5 * (time / (0.55 * reach + 0.2)) ** 2))


@functools.cache
def _parabola(reach: int) -> NDArray[np.float64]:
    """Return weights for the middle value of the parabola fitted to 2 r + 1 values."""
    time = np.arange(-reach, reach + 1)
    root = np.sqrt(_bell(reach))
    columns = np.stack([np.ones_like(time), time, time**2][: 3 if reach > 1 else 1], 1)
    return np.asarray(np.linalg.pinv(columns * root[:, None])[0] * root)


def steady(colours: Floats) -> Floats:
    """Smooth colours (2 r + 1, n, 3) of consecutive frames. Return (n, 3) for the middle frame."""
    reach = len(colours) // 2
    # Frames with a different overall light have little weight, so a sudden change of the light remains.
    levels = np.median(colours[..., 0], 1)
    weights = _bell(max(1, reach))[-reach - 1 - reach :] if reach else np.ones(1)
    weights = weights * np.exp(-0.5 * ((levels - levels[reach]) / 6.0) ** 2)
    return np.asarray(np.tensordot(weights / weights.sum(), colours, 1), np.float32)
