"""A real talking head gets a new face: the changes, the rest of the picture, and the movement."""

from pathlib import Path

import av
import numpy as np
import pytest

from batchswap.local.engine import SwapReport
from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import width
from batchswap.local.engine.metadata import label
from manifests.demo_media import Media
from tests.engine import landmarks
from tests.engine.landmarks import Seen

Swapped = tuple[Path, SwapReport]


def test_the_report_describes_the_result(carphone: Swapped) -> None:
    path, report = carphone
    assert report == SwapReport(120, 120, pytest.approx(4.004), 176, 144)  # type: ignore[arg-type]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_every_frame_is_there_at_its_time(media: Media, carphone: Swapped) -> None:
    assert landmarks.times(carphone[0]) == landmarks.times(media.carphone)
    assert len(landmarks.times(carphone[0])) == 120


def test_each_face_is_changed_and_nothing_around_it(before: Seen, after: Seen, plain: list[landmarks.Pixels]) -> None:
    for one, two, noise, face in zip(before.frames, after.frames, plain, before.points, strict=True):
        size = one.shape[:2]
        assert landmarks.changed(one, two, landmarks.inside(face, size, grow=-0.1)) > 8
        outside = ~landmarks.inside(face, size, grow=0.06)
        assert landmarks.changed(one, two, outside) < landmarks.changed(one, noise, outside) + 0.3


def test_an_open_mouth_stays_open(before: Seen, after: Seen) -> None:
    seen = []
    for one, two, face in zip(before.frames, after.frames, before.points, strict=True):
        if np.linalg.norm(face[13] - face[14]) > 0.12 * width(face):
            mouth = landmarks.inside(face, one.shape[:2], mesh.INNER_LIPS, -0.02)
            seen.append(landmarks.changed(one, two, mouth))
    assert len(seen) >= 10

    assert np.mean(seen) < 10


def test_the_new_face_is_in_the_light_of_the_old_one(before: Seen, after: Seen) -> None:
    """In each frame, its mean colour is that of the old face, although the portrait is much brighter."""
    for one, two, face in zip(before.frames, after.frames, before.points, strict=True):
        skin = landmarks.inside(face, one.shape[:2], grow=-0.08)
        assert np.abs(one[skin].mean(0) - two[skin].mean(0)).max() < 9


def test_it_is_labelled_as_synthetic(carphone: Swapped) -> None:
    with av.open(str(carphone[0])) as container:
        assert container.metadata["digital_source_type"] == label.SOURCE_TYPE
        assert container.metadata["comment"] == label.sentence("task-7")
    assert label.SOURCE_TYPE.encode() in carphone[0].read_bytes().split(label.BOX.bytes)[1]


def test_the_result_can_be_played_while_it_loads(carphone: Swapped) -> None:
    data = carphone[0].read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_sound_is_copied_untouched(media: Media, portrait: Swapped) -> None:
    def packets(path: Path) -> list[tuple[bytes, int | None]]:
        with av.open(str(path)) as container:
            return [(bytes(packet), packet.pts) for packet in container.demux(audio=0) if packet.size]

    assert packets(portrait[0]) == packets(media.portrait)
