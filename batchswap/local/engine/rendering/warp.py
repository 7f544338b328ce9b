"""Bends the new face onto the target's mesh: for every pixel, the place in the texture that belongs there.

The triangles are drawn into a grid of about CELLS across whatever the face's size, with the far ones first so that a
turned head hides its own far side; the map is then softened and brought to the picture's pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import SHIFT, Floats, corners, distance, fill, rise

CELLS = 160
FEATHER = 0.10
"""Of the face's width: over this the mask rises from the outline inwards."""
INSET = 0.015
"""Of the face's width: so far inside the outline the mask begins."""
OPEN = (0.02, 0.07)
"""Opening of the mouth over its width at which the target's own mouth begins to show, and shows fully."""
STRETCHED = (4.0, 9.0)
"""How much coarser than elsewhere the texture may be seen before the target's own skin shows through."""

PixelWindow = tuple[int, int, int, int]


@dataclass(frozen=True)
class Warp:
    """For one frame and one face: `places` (h, w, 2) are texture pixels for the pixels of `window`, `mask` 0 to 1."""

    window: PixelWindow
    places: Floats
    mask: Floats


def bend(target: Floats, texture: Floats, size: tuple[int, int]) -> Warp | None:
    """Points (478, 3) of the target, in pixels of a picture of `size`, and (478, 2) of the texture. None: not in it."""
    window = geometry.window(geometry.box(target), 0.02, size)
    if window is None:
        return None
    left, top, right, bottom = window
    scale = CELLS / max(right - left, bottom - top)
    grid = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    ratio = np.array([grid[0] / (right - left), grid[1] / (bottom - top)], np.float32)
    points = (target[:, :2] - np.array([left, top], np.float32)) * ratio
    drawn = draw(points, target[:, 2], grid)
    places = look_up(drawn, points, texture)
    mask = face_mask(points, grid) * unstretched(drawn, points, texture)
    to = (right - left, bottom - top)
    return Warp(window, cv2.resize(places, to), cv2.resize(mask, to))


def draw(points: Floats, depth: Floats, grid: tuple[int, int]) -> NDArray[np.int32]:
    """(h, w): the number of the triangle that is seen in each cell, -1 where there is none."""
    drawn = np.full((grid[1], grid[0]), -1, np.int32)
    drawable = corners(points)[mesh.TRIANGLES]
    front = np.flatnonzero(signed_areas(points) < 0)
    for number in front[np.argsort(-depth[mesh.TRIANGLES[front]].mean(1), kind="stable")].tolist():
        cv2.fillConvexPoly(drawn, drawable[number], number, cv2.LINE_8, SHIFT)
    return drawn


def signed_areas(points: Floats) -> Floats:
    """Twice the area of each triangle; negative where it faces us."""
    one, two, three = (points[mesh.TRIANGLES[:, i]] for i in range(3))
    return (two[:, 0] - one[:, 0]) * (three[:, 1] - one[:, 1]) - (two[:, 1] - one[:, 1]) * (three[:, 0] - one[:, 0])


def look_up(drawn: NDArray[np.int32], points: Floats, texture: Floats) -> Floats:
    """(h, w, 2) texture pixels for the cells' centres; outside the mesh, where the face as a whole would put them."""
    table = np.hstack([affine(points, texture), whole(points, texture)[:, None]])  # the last one is found by -1
    chosen = table[:, drawn]
    across = np.arange(drawn.shape[1], dtype=np.float32) + 0.5
    down = np.arange(drawn.shape[0], dtype=np.float32)[:, None] + 0.5
    places = [chosen[i] * across + chosen[i + 1] * down + (chosen[i + 2] - 0.5) for i in (0, 3)]
    return np.asarray(cv2.blur(cv2.merge(places), (3, 3)), np.float32)


def affine(points: Floats, texture: Floats) -> Floats:
    """(6, triangles): a, b, c, d, e, f so that a triangle's place x, y lies at a x + b y + c, d x + e y + f."""
    (one, two, three), (first, second, third) = (corner_places(places) for places in (points, texture))
    side, other = two - one, three - one
    area = side[0] * other[1] - side[1] * other[0]
    area = np.where(np.abs(area) < 1e-3, np.inf, area)  # flat ones are never drawn
    to_side, to_other = second - first, third - first
    across = (to_side * other[1] - to_other * side[1]) / area
    down = (to_other * side[0] - to_side * other[0]) / area
    start = first - across * one[0] - down * one[1]
    return np.stack([across[0], down[0], start[0], across[1], down[1], start[1]]).astype(np.float32)


def corner_places(points: Floats) -> Floats:
    """(3, 2, triangles): x and y of each triangle's corners."""
    return points[mesh.TRIANGLES, :2].transpose(1, 2, 0).astype(np.float64)


def whole(points: Floats, texture: Floats) -> Floats:
    """(6,): as `affine`, for the face as one piece."""
    homogeneous = np.column_stack([points, np.ones(len(points), np.float32)])
    return np.asarray(np.linalg.lstsq(homogeneous, texture, rcond=None)[0].T.ravel(), np.float32)


def face_mask(points: Floats, grid: tuple[int, int]) -> Floats:
    """(h, w): 0 outside the face's outline, rising inwards to 1, and 0 again inside an open mouth."""
    inside = np.zeros((grid[1], grid[0]), np.uint8)
    fill(inside, points[list(mesh.OVAL)], 1)
    # The picture's own edge is no outline: a face that it cuts off is swapped right up to it.
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    width = max(distance(points, *mesh.SIDES), 0.7 * distance(points, 10, 152))
    mask = rise(depth / width, INSET, INSET + FEATHER)
    return mask * (1 - mouth(points, grid, width))


def mouth(points: Floats, grid: tuple[int, int], width: float) -> Floats:
    """(h, w): 1 inside the open mouth, with a soft edge on the lips."""
    hole = np.zeros((grid[1], grid[0]), np.float32)
    opening = distance(points, 13, 14) / max(1e-3, distance(points, 78, 308))
    strength = float(rise(np.array(opening), *OPEN))
    if strength > 0:
        fill(hole, points[list(mesh.INNER_LIPS)], strength)
        hole = cv2.GaussianBlur(hole, (0, 0), max(0.6, 0.008 * width))
    return hole


def unstretched(drawn: NDArray[np.int32], points: Floats, texture: Floats) -> Floats:
    """(h, w): 1 where the texture shows as much as is seen of the target, 0 where it would be drawn out."""
    seen, had = np.abs(signed_areas(points)), np.abs(signed_areas(texture))
    ratio = seen / np.maximum(had, 0.02 * had.mean())
    surface = ratio[: -len(mesh.EYES) * 16]
    ratio = ratio / max(1e-6, float(np.median(surface)))
    good = (1 - rise(ratio.astype(np.float32), *STRETCHED)).astype(np.float32)
    good[len(mesh.TRIANGLES) - 50 :] = 1  # eyes and mouth open and close: that is no stretching
    field = np.append(good, np.float32(1))[drawn]
    return cv2.blur(field, (9, 9))  # type: ignore[no-any-return]
