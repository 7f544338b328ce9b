"""Small faces are found, and found again soon after they were hidden."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, swap
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.tracking import close_search
from batchswap.local.engine.tracking.finder import Finder
from manifests.demo_media import Media, Portrait, find_data, read_anna, write_video
from manifests.pixels import Pixels, read_picture
from tests.engine import landmarks, rendering

COUNT, HIDDEN = 36, (10, 11, 12)


def blurred(portrait: Portrait) -> Iterator[Pixels]:
    """Yield a small face that a blur hides for a moment."""
    scene = rendering.scene(COUNT, [(portrait, 34, lambda n: (160 + n, 120.0))])
    for number, frame in enumerate(scene):
        yield np.asarray(cv2.blur(frame, (41, 41)), np.uint8) if number in HIDDEN else frame


def test_a_small_face_that_was_hidden_for_a_moment_is_swapped_again_at_once(media: Media, tmp_path: Path) -> None:
    clip, output = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    write_video(clip, blurred(read_anna(media.anna)))
    assert swap(SwapJob(clip, output, ((None, media.grace),))).swapped_frames >= COUNT - len(HIDDEN)
    before, after = landmarks.frames(clip), landmarks.frames(output)
    for number in (9, 13, 14, 20, 30):
        face = np.zeros(before[number].shape[:2], bool)
        face[110:140, 146 + number : 174 + number] = True
        assert landmarks.changed(before[number], after[number], face) > 8


@pytest.mark.parametrize("across", [45, 60])
@pytest.mark.parametrize("place", [(180, 160), (700, 400), (1010, 250)])
def test_one_small_face_in_a_wide_picture_is_found(media: Media, across: int, place: tuple[int, int]) -> None:
    picture = np.full((720, 1280, 3), rendering.WALL, np.uint8)
    left, top = place[0] - 120, place[1] - 120
    head = next(iter(rendering.scene(1, [(read_anna(media.anna), across, lambda _: (120.0, 120.0))])))
    picture[top : top + 240, left : left + 240] = head[:240, :240]
    with kept_stderr(), Finder.for_stills() as finder:
        (face,) = close_search.look_everywhere(finder, np.ascontiguousarray(picture[..., ::-1]))
    assert np.linalg.norm(face[:, :2].mean(0) - place) < 0.3 * across


@pytest.mark.parametrize("wide", [1000, 1280])
def test_a_small_face_needs_a_second_look(wide: int) -> None:
    source = read_picture(find_data("skimage", "data/motorcycle_left.png"))
    small = cv2.resize(source, (wide, round(wide * source.shape[0] / source.shape[1])))
    picture = np.ascontiguousarray(small[..., ::-1])
    tiles = close_search.tiles((picture.shape[1], picture.shape[0]), close_search.FINER)
    with kept_stderr(), Finder.for_stills() as finder:
        assert any(close_search.look_into(finder, picture, tile) for tile in tiles)
        assert not any(close_search.look_twice(finder, picture, tile) for tile in tiles)
