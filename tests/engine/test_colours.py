"""The new face's colours come from the target's light or from the new face, and from nothing else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, swap
from batchswap.local.engine.facemesh import mesh
from manifests.demo_media import Media, read_anna, view, write_video
from tests.engine import landmarks
from tests.engine.landmarks import Pixels

SIZE = (480, 360)


def tint(picture: Pixels, place: tuple[int, int]) -> tuple[float, float]:
    """Return Cr and Cb around a place."""
    x, y = place
    codes = cv2.cvtColor(picture[y - 2 : y + 3, x - 2 : x + 3], cv2.COLOR_RGB2YCrCb).astype(float)
    return float(codes[..., 1].mean()), float(codes[..., 2].mean())


def irises(picture: Pixels) -> list[tuple[float, float]]:
    face = landmarks.points([picture])[0]
    return [tint(picture, (round(float(x)), round(float(y)))) for x, y, _ in face[[mesh.RIGHT_IRIS, mesh.LEFT_IRIS]]]


def test_dark_eyes_do_not_get_the_difference_between_the_skins(media: Media, portrait: tuple[Path, object]) -> None:
    """Grace's skin is redder than Anna's: the correction must not turn her brown eyes teal."""
    old = irises(landmarks.frames(media.portrait)[45])
    new = irises(landmarks.frames(portrait[0])[45])
    own = irises(np.asarray(cv2.imread(str(media.grace), cv2.IMREAD_COLOR_RGB), np.uint8))
    for red, blue in new:
        assert red > min(red for red, _ in old + own) - 6
        assert blue < max(blue for _, blue in old + own) + 6


@pytest.mark.parametrize("kind", ["video", "still"])
def test_black_and_white_stays_black_and_white(media: Media, tmp_path: Path, kind: str) -> None:
    anna = read_anna(media.anna)
    frames = [
        np.repeat(cv2.cvtColor(view(anna, SIZE, centre=(240 + n, 180), width=150), cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        for n in range(10)
    ]
    if kind == "video":
        target, output = tmp_path / "clip.mp4", tmp_path / "out.mp4"
        write_video(target, frames)
        swap(SwapJob(target, output, ((None, media.grace),)))
        result = landmarks.frames(output)[5]
    else:
        target, output = tmp_path / "grey.jpg", tmp_path / "out.jpg"
        cv2.imwrite(str(target), frames[5])
        swap(SwapJob(target, output, ((None, media.grace),)))
        result = np.asarray(cv2.imread(str(output), cv2.IMREAD_COLOR_RGB), np.uint8)
    assert landmarks.changed(frames[5], result, landmarks.inside(landmarks.points([frames[5]])[0], SIZE[::-1])) > 5
    coloured = result.max(2).astype(int) - result.min(2)
    assert coloured.max() <= 6
