"""Clips rendered from real portraits that move along known paths."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from manifests.demo_media import Portrait, view
from manifests.pixels import Pixels

SIZE = (448, 256)
"""Width and height."""
WALL = (96, 110, 104)

Path = Callable[[int], tuple[float, float] | None]
"""The middle of a face by frame number; None: it is not in the frame."""


def paste(frame: Pixels, portrait: Portrait, centre: tuple[float, float], width: float) -> None:
    """Draw a head into the frame as an oval with a soft edge."""
    head = view(portrait, SIZE, centre=centre, width=width)
    down, across = np.mgrid[: SIZE[1], : SIZE[0]]
    away = np.hypot((across - centre[0]) / (0.85 * width), (down - centre[1] + 0.05 * width) / (1.05 * width))
    mask = np.clip((1.06 - away) / 0.06, 0, 1)[..., None]
    frame[...] = np.rint(frame * (1 - mask) + head * mask).astype(np.uint8)


def scene(count: int, people: list[tuple[Portrait, float, Path]]) -> Iterator[Pixels]:
    """Yield `count` frames with each portrait, in its width and on its path. Later ones cover earlier ones."""
    wall = np.full((SIZE[1], SIZE[0], 3), WALL, np.uint8)
    for number in range(count):
        frame = wall.copy()
        for portrait, width, path in people:
            centre = path(number)
            if centre is not None:
                paste(frame, portrait, centre, width)
        yield frame


def crossing(back: Portrait, front: Portrait) -> Iterator[Pixels]:
    """Yield forty frames: two people change sides. `front` passes in front of `back`, which starts on the left."""
    return scene(
        40,
        [
            (back, 92, lambda n: (100 + 250 * n / 39, 126)),
            (front, 100, lambda n: (350 - 250 * n / 39, 132)),
        ],
    )


def returning(one: Portrait, other: Portrait) -> Iterator[Pixels]:
    """Yield fifty frames: `other` stays; `one` is away in frames 14-33 and returns on the other side."""

    def path(number: int) -> tuple[float, float] | None:
        if number < 14:
            return 90 + number, 126
        return (350 - (number - 34), 130) if number >= 34 else None

    return scene(50, [(other, 88, lambda n: (220, 130 + 0.2 * n)), (one, 84, path)])


def covering(portrait: Portrait) -> Iterator[Pixels]:
    """Yield a hundred frames: a dark stick covers half a cheek and disappears again."""
    for number, frame in enumerate(scene(100, [(portrait, 110, lambda n: (224 + 0.1 * n, 130))])):
        edge = min(200, 30 + 5 * number, 400 - 5 * number)
        cv2.ellipse(frame, (edge - 16, 200), (16, 95), 8, 0, 360, (30, 30, 34), -1, cv2.LINE_AA)
        yield frame
