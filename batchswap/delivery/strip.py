"""Draw the strip of a result: a few moments side by side, the target above the result, cropped around the face."""

import contextlib
import io
import os
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from batchswap.delivery.proof import recognition
from batchswap.delivery.proof.people import Scene, SeenPerson
from batchswap.local.engine.facemesh.geometry import Box, ByteArray

MOMENTS = 3
CELL, CELL_ALONE = 160, 240
"""Pixels: the side of a picture, and the same in a strip of one moment."""
GAP = 2
AROUND = 1.4
"""Space around the faces, relative to the width of one: a face alone takes less than half of the picture."""
MOST_BYTES = 9_000
QUALITIES = (4, 12, 20, 28, 38, 50, 62, 75)
"""Qualities of the WebP that are tried."""


def draw(scenes: Sequence[Scene], persons: Sequence[SeenPerson]) -> ByteArray:
    """Return the strip of these people, or of the middle of the picture without any."""
    numbers = _moments(scenes, persons)
    side = CELL if len(numbers) > 1 else CELL_ALONE
    columns = [_column(scenes[number], _place(persons, number), side) for number in numbers]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([part for column in columns for part in (gap, column)][1:])


def _moments(scenes: Sequence[Scene], persons: Sequence[SeenPerson]) -> list[int]:
    """Return the numbers of the shown scenes: early, in the middle and late, with a face if there is one."""
    some = sorted({number for person in persons for number in person.faces}) or list(range(len(scenes)))
    if len(some) <= MOMENTS:
        return some
    return [some[round((part + 0.5) / MOMENTS * len(some) - 0.5)] for part in range(MOMENTS)]


def _place(persons: Sequence[SeenPerson], number: int) -> Box | None:
    """Return the box around the faces in a scene, wide enough, relative to the picture's size."""
    boxes = np.array([person.at(number).place for person in persons if number in person.faces])
    if not len(boxes):
        return None
    space = float((boxes[:, 2] - boxes[:, 0]).mean()) * AROUND / 2
    (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    return float(left) - space, float(top), float(right) + space, float(bottom)


def _column(scene: Scene, place: Box | None, side: int) -> ByteArray:
    pictures = [picture for picture in (scene.pair.target, scene.pair.result) if picture is not None]
    cells = [_cut(picture, place, side) for picture in pictures]
    gap = np.full((GAP, side, 3), 255, np.uint8)
    return np.vstack([part for cell in cells for part in (gap, cell)][1:])


def _cut(picture: ByteArray, place: Box | None, side: int) -> ByteArray:
    """Cut out a square around the faces, inside the picture where that is possible."""
    high, wide = picture.shape[:2]
    left, top, right, bottom = place or (0.0, 0.0, 1.0, 1.0)
    across, down = (left + right) / 2 * wide, (top + bottom) / 2 * high
    reach = max((right - left) * wide, (bottom - top) * high * 1.5) if place else min(high, wide)
    reach = max(8.0, min(reach, max(high, wide)))
    x, y = (
        max(0.0, min(middle - reach / 2, edge - reach)) if edge >= reach else (edge - reach) / 2
        for middle, edge in ((across, wide), (down, high))
    )
    zoom = side / reach
    way = np.array([[zoom, 0, -x * zoom], [0, zoom, -y * zoom]])
    if zoom < 1:
        picture, way = recognition.shrunk(picture, way, side, zoom)
    return np.asarray(cv2.warpAffine(picture, way, (side, side), flags=cv2.INTER_CUBIC), np.uint8)


def encode(picture: ByteArray) -> bytes:
    """Return the strip as WebP of at most MOST_BYTES, in the best quality, or scaled down if none is low enough."""
    found: dict[int, bytes] = {}

    def size(quality: int) -> int:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "WEBP", quality=quality, method=3)
        found[quality] = file.getvalue()
        return len(found[quality])

    place = bisect_right(QUALITIES, MOST_BYTES, key=size)
    best = QUALITIES[max(0, place - 1)]
    if best not in found:
        size(best)
    if len(found[best]) <= MOST_BYTES:
        return found[best]
    return encode(np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8))


def write(path: Path, picture: ByteArray) -> str | None:
    """Write the strip, readable only by its owner. Return what prevented that, or None."""
    part: Path | None = None
    try:
        data = encode(picture)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=".strip-", dir=path.parent)
        part = Path(name)
        with os.fdopen(number, "wb") as file:
            file.write(data)
        part.replace(path)
    except OSError as error:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()
        return f"no room for the strip: {error.strerror or 'it cannot be written'}"
    return None
