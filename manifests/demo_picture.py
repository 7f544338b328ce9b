"""A picture that compares some swaps: frames before and after."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(h, w, 3), BGR."""

HIGH = 240
"""Height of a frame in pixels."""
COLUMNS = 5


@dataclass(frozen=True)
class Pair:
    """One swap to show: the media before and after, and the picture of the new face."""

    before: Path
    after: Path
    face: Path


def make_picture(pairs: Sequence[Pair], path: Path) -> None:
    """Write a PNG with a band for each pair: the new face, then frames of the clip, each before above after."""
    bands = [band(pair) for pair in pairs]
    width = max(part.shape[1] for part in bands)
    edge = 12
    rows = [
        cv2.copyMakeBorder(part, edge, 0, edge, edge + width - part.shape[1], cv2.BORDER_CONSTANT) for part in bands
    ]
    sheet = cv2.copyMakeBorder(np.vstack(rows), 0, edge, 0, 0, cv2.BORDER_CONSTANT)
    with replacing(path) as part:
        cv2.imwrite(str(part), sheet)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`. Rename it on success, remove it on failure."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def band(pair: Pair) -> Pixels:
    pictures = [*zip(some_frames(pair.before), some_frames(pair.after), strict=True)]
    left, top, right, bottom = changed(pictures)
    gap = np.zeros((2 * HIGH + 4, 4, 3), np.uint8)
    columns = [high(read_picture(pair.face), 2 * HIGH + 4)]
    for before, after in pictures:
        one, two = (high(picture[top:bottom, left:right], HIGH) for picture in (before, after))
        columns += [gap, np.vstack([one, np.zeros((4, one.shape[1], 3), np.uint8), two])]
    return np.hstack(columns)


def changed(pictures: Sequence[tuple[Pixels, Pixels]]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the part that differs, with a margin. Cropping to it enlarges the faces."""
    apart = np.max([np.abs(before.astype(np.int16) - after).max(2) for before, after in pictures], 0)
    rows, columns = np.nonzero(apart > 40)
    height, width = apart.shape
    if not rows.size:
        return 0, 0, width, height
    room = round(0.35 * max(rows.max() - rows.min(), columns.max() - columns.min()))
    left, top = max(0, int(columns.min()) - room), max(0, int(rows.min()) - room)
    return left, top, min(width, int(columns.max()) + room), min(height, int(rows.max()) + room)


def high(picture: Pixels, height: int) -> Pixels:
    scale = height / picture.shape[0]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (round(picture.shape[1] * scale), height), interpolation=how), np.uint8)


def some_frames(path: Path) -> list[Pixels]:
    """Return COLUMNS frames spread over a clip, or the only one of a still."""
    if path.suffix != ".mp4":
        return [read_picture(path)]
    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
        wanted = {round((i + 0.5) * count / COLUMNS) for i in range(COLUMNS)}
        container.seek(0)
        frames = enumerate(container.decode(video=0))
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for i, frame in frames if i in wanted]


def read_picture(path: Path) -> Pixels:
    """Read a picture as (h, w, 3), BGR."""
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if found is None:
        raise FileNotFoundError(path)
    return np.asarray(found, np.uint8)
