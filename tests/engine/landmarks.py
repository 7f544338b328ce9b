"""Frames and landmarks of clips for the tests, from the engine's finder alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, area, box, width
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.tracking.finder import Finder

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """A clip's frames, RGB, and the largest face in each."""

    frames: list[Pixels]
    points: list[Floats]


def frames(path: Path) -> list[Pixels]:
    """Return the frames in RGB, as coded."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def times(path: Path) -> list[Fraction]:
    """Return the time of each frame in seconds after the first one."""
    with av.open(str(path)) as container:
        found = [
            frame.pts * frame.time_base
            for frame in container.decode(video=0)
            if frame.pts is not None and frame.time_base
        ]
    return [time - found[0] for time in found]


def points(pictures: Sequence[Pixels]) -> list[Floats]:
    """Return the largest face of each frame. Fail if a frame has none."""
    with kept_stderr(), Finder.for_video() as finder:
        return [max(finder.find(picture), key=lambda face: area(box(face))) for picture in pictures]


def see(path: Path, count: int | None = None) -> Seen:
    """Read the first frames of a clip, or all. Fail if a frame has no face."""
    pictures = frames(path)[:count]
    return Seen(pictures, points(pictures))


def inside(
    face: Floats, size: tuple[int, int], outline: Sequence[int] = mesh.OVAL, grow: float = 0.0
) -> NDArray[np.bool_]:
    """Return which pixels of a picture of `size` (h, w) lie in the outline, which is grown by a part of its width."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.rint(face[list(outline), :2]).astype(np.int32)], 1)
    reach = round(abs(grow) * width(face))
    if reach:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        mask = cv2.dilate(mask, kernel) if grow > 0 else cv2.erode(mask, kernel)
    return np.asarray(mask, bool)


def changed(before: Pixels, after: Pixels, where: NDArray[np.bool_]) -> float:
    """Return the mean difference in code values over some pixels."""
    return float(np.abs(before.astype(np.int16) - after)[where].mean())


def apart(one: Floats, other: Floats) -> float:
    """Return the mean distance of the surface's points, relative to the face's width."""
    return float(np.linalg.norm((one - other)[: mesh.SURFACE, :2], axis=1).mean()) / width(one)


def read_rgb(path: Path) -> Pixels:
    """Read a picture file and turn it upright."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)
