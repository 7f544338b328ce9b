"""A contact sheet: pictures side by side, each with a caption."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh.geometry import ByteArray

HIGH = 240
"""Height of each picture in pixels."""
CAPTION = 56
EDGE = 16
ACROSS = 6
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def draw_sheet(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Draw pictures, given as captions and files, to `path`. An unreadable picture stays grey. Raises OSError."""
    cells = [draw_cell(caption, cv2.imread(str(picture), cv2.IMREAD_COLOR)) for caption, picture in pictures]
    rows = [np.hstack(cells[first : first + ACROSS]) for first in range(0, len(cells), ACROSS)]
    width = max(row.shape[1] for row in rows)
    filled = [cv2.copyMakeBorder(r, 0, 0, 0, width - r.shape[1], cv2.BORDER_CONSTANT, value=WHITE) for r in rows]
    path.write_bytes(cv2.imencode(".png", np.vstack(filled))[1].tobytes())


def draw_cell(caption: str, picture: ByteArray | None) -> NDArray[np.uint8]:
    if picture is None:
        picture = np.full((HIGH, HIGH, 3), 160, np.uint8)
    wide = min(2 * HIGH, max(HIGH // 3, round(picture.shape[1] * HIGH / picture.shape[0])))
    small = cv2.resize(picture, (wide, HIGH), interpolation=cv2.INTER_AREA)
    cell = cv2.copyMakeBorder(small, EDGE, CAPTION, EDGE, EDGE, cv2.BORDER_CONSTANT, value=WHITE)
    place = (EDGE, EDGE + HIGH + CAPTION - EDGE)
    cv2.putText(cell, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 1.2, BLACK, 2, cv2.LINE_AA)
    return np.asarray(cell, np.uint8)
