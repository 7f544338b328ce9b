"""Look closer where the finder misses faces in the whole picture: small faces and lost ones.

The finder's first network works on 128 pixels: it misses faces under a tenth of the picture's width.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats, PixelWindow
from batchswap.local.engine.tracking.finder import Finder

Layout = tuple[int, float, int]

LAYOUTS = ((2, 0.6, 320), (3, 0.42, 900))
"""Tiles in each direction, their relative size, and the least longer side of a picture that needs them."""
FINER = ((5, 0.26, 900),)
"""The same for a picture without faces in those tiles."""
LEAST = 64
"""Pixels. Tiles of a narrower picture show no more detail."""
SAME = 0.3
"""Least overlap of two boxes of the same face."""
STEADY = 0.06
"""Distance relative to the face's width. If a second look finds a face farther away, it is only a similar pattern."""
NEAR = 0.9
"""Margin of the search around a face's last place, relative to its size."""
PATIENCE = 25
"""Number of frames to search there: a blur or a hand can hide a face for several frames."""


def tiles(size: tuple[int, int], layouts: Sequence[Layout] = LAYOUTS) -> list[PixelWindow]:
    """Return overlapping parts of a picture of `size` (width, height)."""
    found = []
    for count, part, pays in layouts:
        if max(size) >= pays and min(size) >= LEAST:
            wide, high = (round(part * edge) for edge in size)
            lefts, tops = (np.linspace(0, edge - round(part * edge), count).round().astype(int) for edge in size)
            found += [(int(x), int(y), int(x) + wide, int(y) + high) for y in tops for x in lefts]
    return found


def look_into(finder: Finder, picture: ByteArray, tile: PixelWindow) -> list[Floats]:
    """Find faces (478, 3) in a part of a picture, without those that the part's edge cuts off."""
    left, top, right, bottom = tile
    faces = finder.find(picture[top:bottom, left:right]) + np.array([left, top, 0], np.float32)
    return [face for face in faces if is_whole(face, tile, geometry.size_of(picture))]


def look_twice(finder: Finder, picture: ByteArray, tile: PixelWindow) -> list[Floats]:
    """Find faces in a part of a picture, but only those that a second, closer look confirms."""
    found = [(face, around(face, geometry.size_of(picture))) for face in look_into(finder, picture, tile)]
    return [face for face, place in found if place and distance_from(face, look_into(finder, picture, place)) < STEADY]


def distance_from(face: Floats, others: Sequence[Floats]) -> float:
    """Return the mean distance of the points from those of the nearest other face, in face widths; inf without any."""
    apart = (float(np.linalg.norm((face - other)[: mesh.SURFACE, :2], axis=1).mean()) for other in others)
    return min(apart, default=float("inf")) / geometry.width(face)


def is_whole(face: Floats, tile: PixelWindow, size: tuple[int, int]) -> bool:
    """Return whether the face lies inside the tile, except at the edges of the picture itself."""
    left, top, right, bottom = geometry.box(face)
    return (
        (left > tile[0] or tile[0] == 0)
        and (top > tile[1] or tile[1] == 0)
        and (right < tile[2] or tile[2] == size[0])
        and (bottom < tile[3] or tile[3] == size[1])
    )


def around(face: Floats, size: tuple[int, int]) -> PixelWindow | None:
    """Return the part of the picture in which to search for a face that was here a moment ago."""
    return geometry.window(geometry.box(face), NEAR, size, 1)


def is_new(face: Floats, known: Sequence[Floats]) -> bool:
    edges = geometry.box(face)
    return all(geometry.overlap(edges, geometry.box(other)) < SAME for other in known)


def merged(groups: Iterable[Iterable[Floats]]) -> Floats:
    """Return (n, 478, 3): every face once, as it was first found."""
    kept: list[Floats] = []
    for group in groups:
        for face in group:
            if is_new(face, kept):
                kept.append(face)
    return np.array(kept, np.float32).reshape(-1, mesh.POINTS, 3)


def look_everywhere(finder: Finder, picture: ByteArray) -> Floats:
    """Return all faces of a still (n, 478, 3). Use the finer tiles only if the others show no face."""
    size = geometry.size_of(picture)
    faces = merged([finder.find(picture), *(look_into(finder, picture, tile) for tile in tiles(size))])
    return faces if len(faces) else merged(look_twice(finder, picture, tile) for tile in tiles(size, FINER))


class Scout:
    """Finds the faces of a clip that are too small for the finder that follows faces, and those that it lost."""

    EVERY = (2, 6)
    """Frames per examined tile: while no face is known, and otherwise. After a cut, all tiles are examined at once."""
    CUT = 22.0
    """Mean difference of two tiny frames, in code values."""

    def __init__(self, finder: Finder) -> None:
        """`finder` is one for stills."""
        self._finder = finder
        self._known: list[Floats] = []
        self._lost: list[tuple[Floats, int]] = []
        self._tiny: Floats = np.zeros(0)
        self._frame = 0

    def add(self, picture: ByteArray, found: Floats, *, cut: bool) -> Floats:
        """Return the finder's faces in the next frame (n, 478, 3) and further ones. `cut`: the result of `is_cut`.

        After a cut, the finder still starts at the faces' old places. An independent look takes precedence then.
        """
        if cut:
            faces = merged([look_everywhere(self._finder, picture), found])
            self._lost = []
        else:
            faces = self._look_closer(picture, list(merged([found])))
        self._known = list(faces)
        self._frame += 1
        return faces

    def _look_closer(self, picture: ByteArray, faces: list[Floats]) -> Floats:
        """Look for lost faces, and look into the next tile."""
        size = geometry.size_of(picture)
        awaited = [*((face, 0) for face in self._known), *self._lost]
        self._lost = []
        for lost, frames in awaited:
            if is_new(lost, faces) and (tile := around(lost, size)) is not None:
                look = look_twice if frames else look_into  # a face of the last frame needs no proof
                again = [face for face in look(self._finder, picture, tile) if is_new(face, faces)]
                faces += again
                if not again and frames < PATIENCE:
                    self._lost.append((lost, frames + 1))
        return merged([faces, self._look_around(picture, size)])

    def _look_around(self, picture: ByteArray, size: tuple[int, int]) -> list[Floats]:
        """Look into the next tile. The finer tiles take part only while no face is known."""
        turn, rest = divmod(self._frame, self.EVERY[bool(self._known)])
        coarse, fine = tiles(size), [] if self._known else tiles(size, FINER)
        if rest or not coarse:
            return []
        place = turn % (len(coarse) + len(fine))
        if place < len(coarse):
            return look_into(self._finder, picture, coarse[place])
        return look_twice(self._finder, picture, fine[place - len(coarse)])

    def is_cut(self, picture: ByteArray) -> bool:
        """Return whether the next frame starts a new shot. True for the first frame."""
        step = max(1, min(picture.shape[:2]) // 24)
        tiny = picture[::step, ::step].astype(np.float32)
        before, self._tiny = self._tiny, tiny
        return before.shape != tiny.shape or float(np.abs(before - tiny).mean()) > self.CUT
