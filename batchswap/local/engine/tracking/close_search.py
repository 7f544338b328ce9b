"""Looks closer where the finder, which sees a whole picture at once, misses faces: small ones, and lost ones.

The finder's first network works on 128 pixels; a face under a tenth of the picture's width is too small for it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats
from batchswap.local.engine.tracking.finder import Finder

Tile = tuple[int, int, int, int]
Layout = tuple[int, float, int]

LAYOUTS = ((2, 0.6, 320), (3, 0.42, 900))
"""Tiles in each direction, their part of the picture's size, and the picture's longer side from which on they pay."""
FINER = ((5, 0.26, 900),)
"""The same, for a picture in which those show no face."""
LEAST = 64
"""Pixels: in a picture that is narrower, no part of it shows more."""
SAME = 0.3
"""Overlap of two boxes from which on they are one face."""
STEADY = 0.06
"""Of its width: a face found at another place when looked at again is only a pattern like one."""
NEAR = 0.9
"""Space around a face, of its size, when it is looked for where it was."""
PATIENCE = 25
"""Frames for which it is looked for there: a blur or a hand hides a face for longer than one."""


def tiles(size: tuple[int, int], layouts: Sequence[Layout] = LAYOUTS) -> list[Tile]:
    """Left, top, right, bottom of overlapping parts of a picture of `size` (width, height)."""
    found = []
    for count, part, pays in layouts:
        if max(size) >= pays and min(size) >= LEAST:
            wide, high = (round(part * edge) for edge in size)
            lefts, tops = (np.linspace(0, edge - round(part * edge), count).round().astype(int) for edge in size)
            found += [(int(x), int(y), int(x) + wide, int(y) + high) for y in tops for x in lefts]
    return found


def look_into(finder: Finder, picture: ByteArray, tile: Tile) -> list[Floats]:
    """Faces (478, 3) in a part of a picture, in its pixels; none that the part's edge cuts off."""
    left, top, right, bottom = tile
    faces = finder.find(picture[top:bottom, left:right]) + np.array([left, top, 0], np.float32)
    return [face for face in faces if is_whole(face, tile, (picture.shape[1], picture.shape[0]))]


def look_twice(finder: Finder, picture: ByteArray, tile: Tile) -> list[Floats]:
    """The same, of such faces as are seen again when they are looked at alone."""
    size = (picture.shape[1], picture.shape[0])
    found = [(face, around(face, size)) for face in look_into(finder, picture, tile)]
    return [face for face, place in found if place and is_steady(face, look_into(finder, picture, place))]


def is_steady(face: Floats, again: Sequence[Floats]) -> bool:
    return distance_from(face, again) < STEADY


def distance_from(face: Floats, others: Sequence[Floats]) -> float:
    """Return the mean distance of a face's points from those of the nearest other, in its widths; inf without any."""
    apart = (float(np.linalg.norm((face - other)[: mesh.SURFACE, :2], axis=1).mean()) for other in others)
    return min(apart, default=float("inf")) / geometry.width(face)


def is_whole(face: Floats, tile: Tile, size: tuple[int, int]) -> bool:
    """Whether the face ends inside the tile, or with the picture itself."""
    left, top, right, bottom = geometry.box(face)
    return (
        (left > tile[0] or tile[0] == 0)
        and (top > tile[1] or tile[1] == 0)
        and (right < tile[2] or tile[2] == size[0])
        and (bottom < tile[3] or tile[3] == size[1])
    )


def around(face: Floats, size: tuple[int, int]) -> Tile | None:
    """Where to look for a face that was here a moment ago."""
    return geometry.window(geometry.box(face), NEAR, size, 1)


def is_new(face: Floats, known: Sequence[Floats]) -> bool:
    edges = geometry.box(face)
    return all(geometry.overlap(edges, geometry.box(other)) < SAME for other in known)


def merged(groups: Iterable[Iterable[Floats]]) -> Floats:
    """(n, 478, 3): every face once, as it was found first."""
    kept: list[Floats] = []
    for group in groups:
        for face in group:
            if is_new(face, kept):
                kept.append(face)
    return np.array(kept, np.float32).reshape(-1, mesh.POINTS, 3)


def look_everywhere(finder: Finder, picture: ByteArray) -> Floats:
    """Return all faces of a still (n, 478, 3). Small ones next to larger ones are not worth an even closer look."""
    size = (picture.shape[1], picture.shape[0])
    faces = merged([finder.find(picture), *(look_into(finder, picture, tile) for tile in tiles(size))])
    return faces if len(faces) else merged(look_twice(finder, picture, tile) for tile in tiles(size, FINER))


class Scout:
    """Next to a finder that follows a clip's faces, finds those that are too small for it and those that it lost."""

    EVERY = (2, 6)
    """One tile is looked at in each such frame: while no face is known, and otherwise. All tiles after a cut."""
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
        """What the finder found in the next frame (n, 478, 3), and what else there is. `cut`: what `is_cut` says of it.

        After a cut the finder still starts from where a face was before it; a look without that past goes first.
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
        """Where faces were lost, and into the tile whose turn it is."""
        size = (picture.shape[1], picture.shape[0])
        awaited = [*((face, 0) for face in self._known), *self._lost]
        self._lost = []
        for lost, frames in awaited:
            if is_new(lost, faces) and (tile := around(lost, size)) is not None:
                look = look_twice if frames else look_into  # what was there a frame ago needs no proof
                again = [face for face in look(self._finder, picture, tile) if is_new(face, faces)]
                faces += again
                if not again and frames < PATIENCE:
                    self._lost.append((lost, frames + 1))
        return merged([faces, self._look_around(picture, size)])

    def _look_around(self, picture: ByteArray, size: tuple[int, int]) -> list[Floats]:
        """Look into the tile whose turn it is; the finer ones have theirs only while no face is known."""
        turn, rest = divmod(self._frame, self.EVERY[bool(self._known)])
        coarse, fine = tiles(size), [] if self._known else tiles(size, FINER)
        if rest or not coarse:
            return []
        place = turn % (len(coarse) + len(fine))
        if place < len(coarse):
            return look_into(self._finder, picture, coarse[place])
        return look_twice(self._finder, picture, fine[place - len(coarse)])

    def is_cut(self, picture: ByteArray) -> bool:
        """Whether the next frame is another shot than the last one; also true of the first frame."""
        step = max(1, min(picture.shape[:2]) // 24)
        tiny = picture[::step, ::step].astype(np.float32)
        before, self._tiny = self._tiny, tiny
        return before.shape != tiny.shape or float(np.abs(before - tiny).mean()) > self.CUT
