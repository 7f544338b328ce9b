"""The faces of a turned or mirrored clip are found, and its result is displayed upright."""

import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, detect, probe, swap
from batchswap.local.engine.media import orientation
from batchswap.local.engine.media.orientation import ONE, UNIT, Orientation
from manifests.demo_media import Media, read_anna, view
from tests.engine import landmarks
from tests.engine.landmarks import Pixels
from tests.engine.variants import Variant, write

COUNT = 8
WIDE, HIGH = 320, 240
SIGNS = tuple(itertools.product((1, -1), (1, -1)))
ALL = (*((a, 0, 0, d) for a, d in SIGNS), *((0, b, c, 0) for b, c in SIGNS))
"""The eight orientations: a, b, c, d of the display matrix."""


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    """Return frames of Anna with a little movement. The picture is not symmetric."""
    anna = read_anna(media.anna)
    pictures = (view(anna, (WIDE, HIGH), centre=(150 + 2 * n, 120), width=110) for n in range(COUNT))
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]


def matrix(way: tuple[int, int, int, int], size: tuple[int, int], scale: float = 1) -> list[int]:
    """Return the display matrix for a coded picture of `size` (width, height), with its shift back to the corner."""
    a, b, c, d = (round(value * scale * ONE) for value in way)
    x, y = (-sum(min(0, edge * value) for edge, value in zip(size, pair, strict=True)) for pair in ((a, c), (b, d)))
    return [a, b, 0, c, d, 0, x, y, UNIT]


def stored(shown: Pixels, way: tuple[int, int, int, int]) -> Pixels:
    """Return the coded picture that is displayed as `shown`, by the definition of the matrix."""
    a, b, c, d = way
    wide, high = (shown.shape[1], shown.shape[0]) if a else (shown.shape[0], shown.shape[1])
    q, p = np.mgrid[:high, :wide]
    x, y = a * p + c * q, b * p + d * q
    return np.ascontiguousarray(shown[y - y.min(), x - x.min()])


@pytest.mark.parametrize("way", ALL, ids=str)
def test_a_clip_in_each_of_the_eight_orientations_becomes_upright(
    tmp_path: Path, frames: list[Pixels], media: Media, way: tuple[int, int, int, int]
) -> None:
    coded = [stored(frame, way) for frame in frames]
    size = (coded[0].shape[1], coded[0].shape[0])
    clip = write(tmp_path / "clip", coded, Variant(matrix=matrix(way, size)))
    info = probe(clip, "video")
    assert (info.width, info.height) == (WIDE, HIGH)
    output = tmp_path / "swapped.mp4"
    report = swap(SwapJob(clip, output, ((None, media.grace),), threads=1))
    assert (report.swapped_frames, report.width, report.height) == (COUNT, WIDE, HIGH)
    with av.open(str(output)) as container:
        rotation = next(container.decode(video=0)).rotation
    upright = [np.ascontiguousarray(np.rot90(frame, rotation // 90)) for frame in landmarks.frames(output)]
    whole = np.ones((HIGH, WIDE), bool)
    whole[60:200, 80:230] = False  # the face
    for old, new in zip(frames, upright, strict=True):
        assert landmarks.changed(old, new, whole) < 4  # not mirrored, not upside down
        assert landmarks.changed(old, new, ~whole) > 4
    for old_face, new_face in zip(landmarks.points(frames), landmarks.points(upright), strict=True):
        assert landmarks.apart(old_face, new_face) < 0.04


def test_the_picture_of_a_detected_face_is_not_mirrored(tmp_path: Path, frames: list[Pixels]) -> None:
    way = (0, -1, -1, 0)
    coded = [stored(frame, way) for frame in frames]
    clip = write(tmp_path / "clip", coded, Variant(matrix=matrix(way, (HIGH, WIDE))))
    plain = write(tmp_path / "plain", frames, Variant())
    pictures = [detect(path, tmp_path / path.stem).faces[0].picture for path in (clip, plain)]
    one, two = (landmarks.read_rgb(picture) for picture in pictures)
    assert np.abs(np.subtract(one.shape, two.shape)).max() <= 4
    high, wide = np.minimum(one.shape, two.shape)[:2]
    part = np.ones((high, wide), bool)
    assert landmarks.changed(one[:high, :wide], two[:high, :wide], part) < 12


@pytest.mark.parametrize("scale", [1, 0.5, 3, 65_533 / 65_536])
@pytest.mark.parametrize("way", ALL, ids=str)
def test_a_matrix_with_a_scale_or_a_rounding_error_means_the_nearest_of_the_eight(
    way: tuple[int, int, int, int], scale: float
) -> None:
    size = (WIDE, HIGH) if way[0] else (HIGH, WIDE)
    frame = av.VideoFrame(*size, "yuv420p")
    frame.opaque = matrix(way, size, scale)
    found = orientation.orientation_of(frame)
    picture = np.arange(WIDE * HIGH).reshape(size[1], size[0])
    shown = np.rot90(picture[:, ::-1] if found.mirrored else picture, found.turns)
    assert np.array_equal(stored(shown.astype(np.int32), way), picture)
    told = orientation.matrix_to_write(frame)
    turned = {0: (1, 0, 0, 1), 1: (0, -1, 1, 0), 2: (-1, 0, 0, -1), 3: (0, 1, -1, 0)}[found.turns]
    assert told == (matrix(turned, size) if found.turns else None)


@pytest.mark.parametrize("values", [[0] * 9, [ONE, ONE, 0, ONE, ONE, 0, 0, 0, UNIT]])
def test_a_matrix_that_would_hide_the_picture_is_left_out(
    tmp_path: Path, frames: list[Pixels], values: list[int]
) -> None:
    clip = write(tmp_path / "clip", frames[:1], Variant(matrix=values))
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
        assert orientation.keep_matrix(frame) is None
        assert orientation.orientation_of(frame) == Orientation()


def test_a_slant_is_kept() -> None:
    frame = av.VideoFrame(WIDE, HIGH, "yuv420p")
    frame.opaque = matrix((0.966, 0.259, -0.259, 0.966), (WIDE, HIGH))  # type: ignore[arg-type]
    assert orientation.orientation_of(frame) == Orientation()
    assert orientation.matrix_to_write(frame) == frame.opaque
