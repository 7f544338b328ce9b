"""Small faces are found again soon after something hid them."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from batchswap.local.engine import SwapJob, swap
from manifests.demo_media import Media, Portrait, read_anna, write_video
from manifests.demo_picture import Pixels
from tests.engine import looking, rendering

COUNT, HIDDEN = 36, (10, 11, 12)


def blurred(portrait: Portrait) -> Iterator[Pixels]:
    """A small face that a blur hides for a moment."""
    scene = rendering.scene(COUNT, [(portrait, 34, lambda n: (160 + n, 120.0))])
    for number, frame in enumerate(scene):
        yield np.asarray(cv2.blur(frame, (41, 41)), np.uint8) if number in HIDDEN else frame


def test_a_small_face_that_was_hidden_for_a_moment_is_swapped_again_at_once(media: Media, tmp_path: Path) -> None:
    clip, output = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    write_video(clip, blurred(read_anna(media.anna)))
    assert swap(SwapJob(clip, output, ((None, media.grace),))).swapped_frames >= COUNT - len(HIDDEN)
    before, after = looking.frames(clip), looking.frames(output)
    for number in (9, 13, 14, 20, 30):
        face = np.zeros(before[number].shape[:2], bool)
        face[110:140, 146 + number : 174 + number] = True
        assert looking.changed(before[number], after[number], face) > 8
