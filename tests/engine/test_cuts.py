"""A face ends at a cut: neither its place nor its size continues in the next shot."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchswap.local.engine import SwapJob, swap
from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import Floats
from manifests.demo_media import Media, Portrait, read_anna, view, write_video
from manifests.pixels import Pixels
from tests.engine import landmarks

SIZE = (640, 480)
COUNT, CUT = 40, 20
RIGHT, LEFT = mesh.RIGHT_EYE[0], mesh.LEFT_EYE[8]
"""The outer corners of the eyes."""


def shot(portrait: Portrait, count: int, wide: float) -> Iterator[Pixels]:
    """Yield a head that moves a little, with a face of about `wide` pixels."""
    for number in range(count):
        centre = (320 + 2 * np.sin(number / 5), 240.0)
        yield view(portrait, SIZE, centre=centre, width=wide, tilt=np.sin(number / 7))


def between_eyes(face: Floats) -> float:
    return float(np.linalg.norm(face[LEFT, :2] - face[RIGHT, :2]))


@pytest.mark.parametrize(("colour", "length"), [((60, 140, 60), 4), ((255, 255, 255), 2)])
def test_no_face_appears_in_a_short_shot_without_one(
    media: Media, tmp_path: Path, colour: tuple[int, int, int], length: int
) -> None:
    wall = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
    frames = list(shot(read_anna(media.anna), COUNT, 160))
    frames[CUT : CUT + length] = [wall] * length
    clip, output = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    write_video(clip, frames)
    report = swap(SwapJob(clip, output, ((None, media.grace),)))
    assert report.swapped_frames == COUNT - length
    for picture in landmarks.frames(output)[CUT : CUT + length]:
        assert np.abs(picture.astype(int) - np.array(colour)).max() < 24


def test_a_face_has_its_own_size_up_to_a_cut_and_from_it_on(media: Media, tmp_path: Path) -> None:
    """A punch-in: from one frame to the next, the same person is half as large again."""
    anna = read_anna(media.anna)
    clip, output = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    write_video(clip, [*shot(anna, CUT, 140), *shot(anna, COUNT - CUT, 215)])
    swap(SwapJob(clip, output, ((None, media.grace),)))
    old, new = (
        [landmarks.points([picture])[0] for picture in landmarks.frames(path)[CUT - 3 : CUT + 3]]
        for path in (clip, output)
    )
    ratios = [between_eyes(two) / between_eyes(one) for one, two in zip(old, new, strict=True)]
    assert max(ratios[:3]) / min(ratios[:3]) < 1.04
    assert max(ratios[3:]) / min(ratios[3:]) < 1.04
    for one, two in zip(old, new, strict=True):
        mouth = (two - one)[list(mesh.INNER_LIPS), :2].mean(0)
        assert np.linalg.norm(mouth) < 0.02 * geometry.width(one)
