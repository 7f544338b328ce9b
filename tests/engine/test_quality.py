"""The four measures of a swap's quality reach their goals on real faces."""

from pathlib import Path

import numpy as np
import pytest

from batchswap.local.engine import SwapJob, SwapReport, swap
from batchswap.local.engine.facemesh import mesh
from manifests.demo_media import Media, read_anna, write_video
from tests.benchmarks.bench_engine import transcode
from tests.engine import difficult_clips, face_identity, landmarks, measures
from tests.engine.landmarks import Pixels, Seen

Swapped = tuple[Path, SwapReport]
Turning = tuple[Seen, Seen, list[Pixels]]
COUNT = 75
"""Frames of the moving portrait: three seconds."""


@pytest.fixture(scope="module")
def older(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The talking head with Grace's face, who wears glasses."""
    output = tmp_path_factory.mktemp("older") / "swapped.mp4"
    swap(SwapJob(media.carphone, output, ((None, media.grace),)))
    return landmarks.see(output)


@pytest.fixture(scope="module")
def turning(media: Media, portrait: Swapped, tmp_path_factory: pytest.TempPathFactory) -> Turning:
    """Return the moving portrait before the swap, with Grace's face, and only encoded again."""
    path = tmp_path_factory.mktemp("turning") / "plain.mp4"
    transcode(media.portrait, path)
    return landmarks.see(media.portrait, COUNT), landmarks.see(portrait[0], COUNT), landmarks.frames(path)[:COUNT]


def test_the_new_face_is_recognised(
    media: Media, before: Seen, after: Seen, older: Seen, plain: list[Pixels], turning: Turning
) -> None:
    anna, grace = (face_identity.person(path) for path in (media.anna, media.grace))
    assert face_identity.apart(anna, grace) > 0.6  # two strangers for the network
    old, upright = (measures.looks(seen, seen.frames) for seen in (before, turning[0]))
    assert measures.likeness(measures.looks(before, plain), old, anna) == 0
    assert measures.likeness(measures.looks(before, after.frames), old, anna) >= 0.9
    assert measures.likeness(measures.looks(before, older.frames), old, grace) >= 0.9
    assert measures.likeness(measures.looks(turning[0], turning[1].frames), upright, grace) >= 0.9


def test_the_new_face_has_the_old_ones_pose_in_every_frame(
    before: Seen, after: Seen, older: Seen, turning: Turning
) -> None:
    for one, two in ((before, after), (before, older), turning[:2]):
        away = measures.misplacing(one, two)
        assert away.max() < 0.03
        assert away.mean() < 0.02


def test_the_new_face_is_as_steady_on_the_head_as_the_old_one(
    before: Seen, after: Seen, older: Seen, plain: list[Pixels], turning: Turning
) -> None:
    """Compared with the old one after the same encoder, because its noise dominates the measure."""
    heads = measures.movements(before)
    floor = measures.shaking(before, heads, plain)
    assert measures.shaking(before, heads, after.frames) < 1.5 * floor
    assert measures.shaking(before, heads, older.frames) < 1.5 * floor
    one, two, again = turning
    heads = measures.movements(one)
    assert measures.shaking(one, heads, two.frames) < 1.5 * measures.shaking(one, heads, again)


def test_its_landmarks_are_as_steady_as_the_old_ones(before: Seen, after: Seen, older: Seen) -> None:
    def shake(seen: Seen) -> float:
        """Return the mean second difference of the points relative to the face's middle, in pixels."""
        faces = np.array(seen.points)[:, : mesh.SURFACE, :2]
        shapes = faces - faces.mean(1, keepdims=True)
        return float(np.linalg.norm(np.diff(shapes, 2, axis=0), axis=2).mean())

    assert max(shake(after), shake(older)) < 1.5 * shake(before)


def test_no_step_in_colour_at_the_edge(
    before: Seen, after: Seen, older: Seen, plain: list[Pixels], turning: Turning
) -> None:
    assert measures.seam(before, plain) < 0.5  # without the encoder's noise
    assert measures.seam(before, after.frames) < measures.VISIBLE
    assert measures.seam(before, older.frames) < measures.VISIBLE
    assert measures.seam(turning[0], turning[1].frames) < measures.VISIBLE


def test_a_head_that_turns_away_loses_the_new_face_gradually(media: Media, tmp_path: Path) -> None:
    """It is visible up to 45 degrees. In profile, the head's own face is visible. Nothing changes around the head."""
    clip, output = tmp_path / "turned.mp4", tmp_path / "out.mp4"
    write_video(
        clip,
        difficult_clips.turned(read_anna(media.anna), [angle for angle in difficult_clips.TURNS for _ in range(2)]),
    )
    swap(SwapJob(clip, output, ((None, media.grace),)))
    old, new = (landmarks.frames(path)[1::2] for path in (clip, output))
    whole = np.ones(old[0].shape[:2], bool)
    amounts = [landmarks.changed(one, two, whole) for one, two in zip(old, new, strict=True)]
    assert min(amounts[:4]) > 1.2  # 0, 15, 30 and 45 degrees
    assert amounts[5] < 0.5 * amounts[0]
    for one, two in zip(old, new, strict=True):
        assert landmarks.changed(one[:, :110], two[:, :110], whole[:, :110]) < 0.5
        assert landmarks.changed(one[:, 370:], two[:, 370:], whole[:, 370:]) < 0.5
