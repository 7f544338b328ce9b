"""Frames that are hard to swap, made from real faces: turned heads, glasses, a hand in front of the face, open mouths.

`python -m tests.engine.difficult_clips FOLDER` swaps them and writes a contact sheet of each kind for a visual check:
the original frames above, the swapped ones below.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine import SwapJob, swap
from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, width
from manifests.demo_media import Portrait, make, read_anna, view, write_video
from manifests.pixels import Pixels
from tests.engine import landmarks

SIZE = (480, 360)
MIDDLE = (240.0, 180.0)
WIDE = 130.0
WALL = (150, 148, 160)
TURNS = (0, 15, 30, 45, 60, 75)
"""Degrees."""
CELLS = 30
"""Cells in each direction of the net that represents the head's surface."""
DARK, SKIN = (60, 70, 95), (150, 175, 225)


def turned(portrait: Portrait, degrees: Sequence[float]) -> Iterator[Pixels]:
    """Turn the head about its axis in space. Its depth comes from the landmarks, and is estimated beyond them."""
    net, deep, face_width = surface(portrait)
    order = np.arange((CELLS + 1) ** 2).reshape(CELLS + 1, -1)
    one, right, down, last = (
        order[a, b].ravel() for a in (slice(-1), slice(1, None)) for b in (slice(-1), slice(1, None))
    )
    corners = np.concatenate([np.stack([one, right, down], 1), np.stack([right, last, down], 1)])
    for angle in np.radians(degrees):
        across, away = net[:, 0] - portrait.centre[0], deep - 0.35 * face_width
        places = np.stack([across * np.cos(angle) + away * np.sin(angle), net[:, 1] - portrait.centre[1]], 1)
        far = -across * np.sin(angle) + away * np.cos(angle)
        frame = np.full((SIZE[1], SIZE[0], 3), WALL, np.uint8)
        drawn = (places * WIDE / portrait.size + MIDDLE).astype(np.float32)
        for triangle in corners[np.argsort(-far[corners].mean(1))]:
            put(frame, portrait.picture, net[triangle], drawn[triangle])
        yield frame


def surface(portrait: Portrait) -> tuple[Floats, Floats, float]:
    """Return places in the picture (n, 2), their depths (n,) and the face's width, all in pixels."""
    face = landmarks.points([np.ascontiguousarray(portrait.picture[..., ::-1])])[0]
    middle, unit = face[: mesh.SURFACE].mean(0), width(face)
    steps = [np.linspace(middle[i] - unit, middle[i] + unit, CELLS + 1) for i in (0, 1)]
    net = np.stack(np.meshgrid(*steps), -1).reshape(-1, 2).astype(np.float32)
    apart = np.linalg.norm(net[:, None] - face[None, : mesh.SURFACE, :2], axis=2)
    near = np.exp(-((apart / (0.05 * unit)) ** 2)) + 1e-12
    deep = near @ face[: mesh.SURFACE, 2] / near.sum(1)
    outside = np.hypot((net[:, 0] - middle[0]) / (0.62 * unit), (net[:, 1] - middle[1]) / (0.85 * unit)) - 1
    return net, deep + 0.9 * unit * np.maximum(0, outside), unit


def put(frame: Pixels, picture: Pixels, source: Floats, target: Floats) -> None:
    """Draw one triangle of the picture into the frame."""
    low, high = np.floor(target.min(0)).astype(int) - 1, np.ceil(target.max(0)).astype(int) + 1
    (left, top), (right, bottom) = np.maximum(low, 0), np.minimum(high, SIZE)
    if right <= left or bottom <= top:
        return
    inner = (target - (left, top)).astype(np.float32)
    way = cv2.getAffineTransform(source, inner)
    piece = cv2.warpAffine(picture, way, (int(right - left), int(bottom - top)), borderMode=cv2.BORDER_REFLECT_101)
    mask = np.zeros(piece.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(inner * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    frame[top:bottom, left:right][mask > 0] = piece[mask > 0]


def glasses(portrait: Portrait, *, dark: bool) -> Iterator[Pixels]:
    """Yield a head with round glasses that moves sideways."""
    face = landmarks.points([np.ascontiguousarray(portrait.picture[..., ::-1])])[0]
    eyes = (face[[mesh.RIGHT_IRIS, mesh.LEFT_IRIS], :2] - portrait.centre) * WIDE / portrait.size
    for number in range(20):
        middle = (MIDDLE[0] + 20 * np.sin(number / 4), MIDDLE[1])
        frame = view(portrait, SIZE, centre=middle, width=WIDE)
        rims = [tuple(int(value) for value in np.rint(eye + middle)) for eye in eyes]
        for rim in rims:
            cv2.circle(frame, rim, 22, (15, 15, 20), -1 if dark else 4, cv2.LINE_AA)
        cv2.line(frame, (rims[0][0] + 22, rims[0][1]), (rims[1][0] - 22, rims[1][1]), (15, 15, 20), 4, cv2.LINE_AA)
        yield frame


def hand(portrait: Portrait, colour: tuple[int, int, int]) -> Iterator[Pixels]:
    """Yield a hand that enters from the left and stays in front of the mouth."""
    shade = np.array(colour) * (1 + 0.12 * np.sin(np.arange(SIZE[1]) / 5))[:, None, None]
    for number in range(60):
        x = min(260, 60 + 5 * number)
        mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        for finger in range(4):
            cv2.ellipse(mask, (x - 10, 207 + 18 * finger), (48, 10), -8, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(mask, (x - 60, 235), (45, 40), 0, 0, 360, 255, -1, cv2.LINE_AA)
        part: NDArray[np.float64] = cv2.GaussianBlur(mask, (0, 0), 1.2)[..., None] / 255
        frame = view(portrait, SIZE, centre=MIDDLE, width=WIDE) * (1 - part) + shade * part
        yield np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def sheet(clip: Path, face: Path, numbers: Sequence[int]) -> None:
    """Swap, and write the picture next to the clip."""
    output = clip.with_name(f"{clip.stem}-swapped.mp4")
    swap(SwapJob(clip, output, ((None, face),)))
    rows = [np.hstack([landmarks.frames(path)[number] for number in numbers]) for path in (clip, output)]
    cv2.imwrite(str(clip.with_suffix(".png")), np.vstack(rows)[..., ::-1])
    print(clip.with_suffix(".png"))


def main() -> None:
    folder = Path(sys.argv[1])
    media = make(folder)
    anna = read_anna(media.anna)
    clips = {
        "turned": (turned(anna, [angle for angle in TURNS for _ in range(3)]), range(1, 18, 3)),
        "glasses": (glasses(anna, dark=False), range(0, 20, 4)),
        "sunglasses": (glasses(anna, dark=True), range(0, 20, 4)),
        "dark-hand": (hand(anna, DARK), range(0, 60, 12)),
        "hand": (hand(anna, SKIN), range(0, 60, 12)),
    }
    for name, (frames, numbers) in clips.items():
        write_video(folder / f"{name}.mp4", frames)
        sheet(folder / f"{name}.mp4", media.grace, numbers)
    sheet(media.carphone, media.anna, (0, 30, 60, 78, 100, 112))


if __name__ == "__main__":
    main()
