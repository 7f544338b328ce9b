"""Pictures and videos that are upside down or on their side are swapped correctly, with a remark."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, detect, swap
from batchswap.local.engine.tracking import upright
from manifests.demo_media import Media, read_anna, view
from tests.engine import landmarks
from tests.engine.landmarks import Pixels
from tests.engine.variants import Variant, write

COUNT = 10
WORDS = {1: "on their side", 2: "upside down", 3: "on their side"}


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    anna = read_anna(media.anna)
    pictures = (view(anna, (320, 240), centre=(150 + 2 * n, 120), width=110) for n in range(COUNT))
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]


def turned(source: Path, target: Path, turns: int) -> Path:
    cv2.imwrite(str(target), np.rot90(np.asarray(cv2.imread(str(source))), turns))
    return target


def said(noun: str, turns: int) -> tuple[str, ...]:
    return (f"the {noun} shows faces {WORDS[turns]}: it was turned to find them",)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_that_is_not_upright_is_swapped_and_keeps_its_orientation(
    tmp_path: Path, frames: list[Pixels], media: Media, turns: int
) -> None:
    clip = write(tmp_path / "clip", [np.rot90(frame, -turns) for frame in frames], Variant())
    output = tmp_path / "swapped.mp4"
    report = swap(SwapJob(clip, output, ((None, media.grace),), threads=1))
    assert report.swapped_frames == COUNT
    shown = [np.ascontiguousarray(np.rot90(frame, turns)) for frame in landmarks.frames(output)]
    for old, new in zip(landmarks.points(frames), landmarks.points(shown), strict=True):
        assert landmarks.apart(old, new) < 0.04
    whole = np.ones(frames[0].shape[:2], bool)
    assert all(landmarks.changed(one, two, whole) > 2 for one, two in zip(frames, shown, strict=True))
    assert report.notes == said("video", turns)
    face = landmarks.points([landmarks.read_rgb(detect(clip, tmp_path / "faces").faces[0].picture)])[0]
    assert not upright.lies(face)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_still_that_is_not_upright_is_swapped_and_keeps_its_orientation(
    tmp_path: Path, media: Media, turns: int
) -> None:
    picture = turned(media.anna, tmp_path / "in.png", -turns)
    report = swap(SwapJob(picture, tmp_path / "out.png", ((None, media.grace),)))
    straight = swap(SwapJob(media.anna, tmp_path / "straight.png", ((None, media.grace),)))
    assert (report.notes, straight.notes) == (said("image", turns), ())
    before, after = landmarks.read_rgb(tmp_path / "straight.png"), landmarks.read_rgb(tmp_path / "out.png")
    face = landmarks.inside(landmarks.points([landmarks.read_rgb(media.anna)])[0], (512, 512))
    assert landmarks.changed(before, np.rot90(after, turns), face) < 4
    pictures = [detect(path, tmp_path / name).faces[0].picture for path, name in ((picture, "a"), (media.anna, "b"))]
    one, two = (landmarks.read_rgb(each) for each in pictures)
    assert np.abs(np.subtract(one.shape, two.shape)).max() <= 8


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_picture_that_is_not_upright_is_turned(tmp_path: Path, media: Media, turns: int) -> None:
    face = turned(media.grace, tmp_path / "face.png", -turns)
    report = swap(SwapJob(media.anna, tmp_path / "out.png", ((None, face),)))
    swap(SwapJob(media.anna, tmp_path / "straight.png", ((None, media.grace),)))
    assert report.notes == said("face picture", turns)
    before, after = landmarks.read_rgb(tmp_path / "straight.png"), landmarks.read_rgb(tmp_path / "out.png")
    assert landmarks.changed(before, after, np.ones((512, 512), bool)) < 1


@pytest.mark.parametrize(
    ("doubts", "turns"),
    [
        ({0: 0.005}, 0),
        ({0: 0.5, 1: 0.4, 2: 0.004, 3: 9.0}, 2),
        ({0: 0.03, 1: 0.06, 2: 0.019, 3: 9.0}, 0),
        ({0: float("inf"), 1: float("inf"), 2: float("inf"), 3: float("inf")}, 0),
        ({0: float("inf"), 1: 0.05, 2: 0.3, 3: 0.01}, 3),
    ],
)
def test_a_picture_is_turned_only_when_that_is_clearly_better(doubts: dict[int, float], turns: int) -> None:
    assert upright.best_way(doubts) == turns


def test_a_remark_counts_the_frames(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    wall = np.full_like(frames[0], 90)
    wall[::16] = 140
    clip = write(tmp_path / "clip", frames + [wall] * 9, Variant())
    part = swap(SwapJob(clip, tmp_path / "part.mp4", ((None, media.grace),), threads=1))
    assert part.remark == f"{COUNT} of {COUNT + 9} frames show a new face"
    still = swap(SwapJob(media.anna, tmp_path / "out.png", ((None, media.grace),)))
    assert still.remark == ""
