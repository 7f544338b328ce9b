"""Bend the new face onto the target's mesh: compute the place in the texture for every pixel.

The triangles are drawn into a grid of about CELLS cells, regardless of the face's size. Far triangles come first, so
that a turned head hides its own far side. The map is then smoothed and scaled to the picture's pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import SHIFT, Floats, PixelWindow, corners, distance, fill, rise

CELLS = 160
FEATHER = 0.10
"""Width of the mask's soft edge, relative to the face's width."""
INSET = 0.015
"""Distance between the outline and the start of the mask, relative to the face's width."""
OPEN = (0.02, 0.07)
"""Ratios of the mouth's opening to its width: the target's own mouth begins to show, and shows fully."""
STRETCHED = (4.0, 9.0)
"""Magnification of the texture relative to its median: the target's own skin begins to show, and shows fully."""


@dataclass(frozen=True)
class Warp:
    """The map for one face in one frame: texture pixels `places` (h, w, 2) for `window`, and `mask` (h, w), 0 to 1."""

    window: PixelWindow
    places: Floats
    mask: Floats


def bend(target: Floats, texture: Floats, size: tuple[int, int]) -> Warp | None:
    """Map the texture with its points (478, 2) onto the target's points (478, 3) in a picture of `size`.

    None: the face lies outside the picture.
    """
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
    """Return (h, w): the number of the visible triangle in each cell, or -1."""
    drawn = np.full((grid[1], grid[0]), -1, np.int32)
    drawable = corners(points)[mesh.TRIANGLES]
    front = np.flatnonzero(signed_areas(points) < 0)
    for number in front[np.argsort(-depth[mesh.TRIANGLES[front]].mean(1), kind="stable")].tolist():
        cv2.fillConvexPoly(drawn, drawable[number], number, cv2.LINE_8, SHIFT)
    return drawn


def signed_areas(points: Floats) -> Floats:
    """Return twice the area of each triangle, negative if it faces the camera."""
    one, two, three = (points[mesh.TRIANGLES[:, i]] for i in range(3))
    return (two[:, 0] - one[:, 0]) * (three[:, 1] - one[:, 1]) - (two[:, 1] - one[:, 1]) * (three[:, 0] - one[:, 0])


def look_up(drawn: NDArray[np.int32], points: Floats, texture: Floats) -> Floats:
    """Return texture pixels (h, w, 2) for the cells' centres. Outside the mesh, use the map of the whole face."""
    table = np.hstack([affine(points, texture), whole(points, texture)[:, None]])  # -1 selects the last one
    chosen = table[:, drawn]
    across = np.arange(drawn.shape[1], dtype=np.float32) + 0.5
    down = np.arange(drawn.shape[0], dtype=np.float32)[:, None] + 0.5
    places = [chosen[i] * across + chosen[i + 1] * down + (chosen[i + 2] - 0.5) for i in (0, 3)]
    return np.asarray(cv2.blur(cv2.merge(places), (3, 3)), np.float32)


def affine(points: Floats, texture: Floats) -> Floats:
    """Return (6, triangles): a, b, c, d, e, f that map a triangle's place (x, y) to (a x + b y + c, d x + e y + f)."""
    (one, two, three), (first, second, third) = (corner_places(places) for places in (points, texture))
    side, other = two - one, three - one
    area = side[0] * other[1] - side[1] * other[0]
    area = np.where(np.abs(area) < 1e-3, np.inf, area)  # flat triangles are never drawn
    to_side, to_other = second - first, third - first
    across = (to_side * other[1] - to_other * side[1]) / area
    down = (to_other * side[0] - to_side * other[0]) / area
    start = first - across * one[0] - down * one[1]
    return np.stack([across[0], down[0], start[0], across[1], down[1], start[1]]).astype(np.float32)


def corner_places(points: Floats) -> Floats:
    """Return (3, 2, triangles): x and y of each triangle's corners."""
    return points[mesh.TRIANGLES, :2].transpose(1, 2, 0).astype(np.float64)


def whole(points: Floats, texture: Floats) -> Floats:
    """Return (6,): like `affine`, but one map for the whole face."""
    homogeneous = np.column_stack([points, np.ones(len(points), np.float32)])
    return np.asarray(np.linalg.lstsq(homogeneous, texture, rcond=None)[0].T.ravel(), np.float32)


def face_mask(points: Floats, grid: tuple[int, int]) -> Floats:
    """Return (h, w): 0 outside the face's outline, rising inwards to 1, and 0 inside an open mouth."""
    inside = np.zeros((grid[1], grid[0]), np.uint8)
    fill(inside, points[list(mesh.OVAL)], 1)
    # The picture's own edge is no outline: a face that it cuts off is swapped up to the edge.
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    width = max(distance(points, *mesh.SIDES), 0.7 * distance(points, 10, 152))
    mask = rise(depth / width, INSET, INSET + FEATHER)
    return mask * (1 - mouth(points, grid, width))


def mouth(points: Floats, grid: tuple[int, int], width: float) -> Floats:
    """Return (h, w): 1 inside the open mouth, with a soft edge on the lips."""
    hole = np.zeros((grid[1], grid[0]), np.float32)
    opening = distance(points, 13, 14) / max(1e-3, distance(points, 78, 308))
    strength = float(rise(np.array(opening), *OPEN))
    if strength > 0:
        fill(hole, points[list(mesh.INNER_LIPS)], strength)
        hole = cv2.GaussianBlur(hole, (0, 0), max(0.6, 0.008 * width))
    return hole


def unstretched(drawn: NDArray[np.int32], points: Floats, texture: Floats) -> Floats:
    """Return (h, w): 1 where the texture has enough detail for the target, 0 where it would be stretched."""
    seen, had = np.abs(signed_areas(points)), np.abs(signed_areas(texture))
    ratio = seen / np.maximum(had, 0.02 * had.mean())
    surface = ratio[: -len(mesh.EYES) * 16]
    ratio = ratio / max(1e-6, float(np.median(surface)))
    good = (1 - rise(ratio.astype(np.float32), *STRETCHED)).astype(np.float32)
    good[len(mesh.TRIANGLES) - 50 :] = 1  # an opening eye or mouth is not stretched
    field = np.append(good, np.float32(1))[drawn]
    return cv2.blur(field, (9, 9))  # type: ignore[no-any-return]
