"""Steadies a face's points over time without lagging behind: it may look at the frames to come as well.

Head movement (place, size, tilt) and the face's shape are treated apart. The movement is fitted by a parabola over
the frames around (Savitzky and Golay, 1964), but the place follows it only where it is as near as noise would bring
it: a head that is shaken takes its face along. The shape is averaged over those frames, each point only with frames
in which it stood in nearly the same place, so that a blink stays a blink.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Floats

REACH = 4
"""Frames before and after."""
SAME_PLACE = 0.012
"""Of the face's width: further apart is a movement of the face, not noise."""
NOISE = 0.002
"""Of the face's width: how far the mean of all points lies off its true place. What is farther off the parabola than
this is the head's own movement; smoothing that away would let the face swim on the head."""


def smooth(frames: Floats) -> Floats:
    """(2 r + 1, n, 3) points of consecutive frames -> (n, 3) for the middle one. One frame comes back as it is."""
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
    """Each point's mean over the frames, weighted by nearness in time and in place."""
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
    """Weights that give the middle value of the parabola fitted through 2 r + 1 values."""
    time = np.arange(-reach, reach + 1)
    root = np.sqrt(_bell(reach))
    columns = np.stack([np.ones_like(time), time, time**2][: 3 if reach > 1 else 1], 1)
    return np.asarray(np.linalg.pinv(columns * root[:, None])[0] * root)


def steady(colours: Floats) -> Floats:
    """(2 r + 1, n, 3) colours of consecutive frames -> (n, 3): the light of the middle one, without noise."""
    reach = len(colours) // 2
    # A sudden change of the light as a whole is kept: frames that differ in it weigh little.
    levels = np.median(colours[..., 0], 1)
    weights = _bell(max(1, reach))[-reach - 1 - reach :] if reach else np.ones(1)
    weights = weights * np.exp(-0.5 * ((levels - levels[reach]) / 6.0) ** 2)
    return np.asarray(np.tensordot(weights / weights.sum(), colours, 1), np.float32)
