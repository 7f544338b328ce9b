"""A real talking head gets a new face: what changes, what must not, and how it moves."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from batchswap.local.engine import SwapReport, label, mesh
from batchswap.local.engine.geometry import Floats, width
from manifests.demo_media import Media
from tests.engine import looking

Swapped = tuple[Path, SwapReport]


@dataclass(frozen=True)
class Seen:
    """A clip's frames and the face in each."""

    frames: list[looking.Pixels]
    points: list[Floats]


@pytest.fixture(scope="module")
def before(media: Media) -> Seen:
    frames = looking.frames(media.carphone)
    return Seen(frames, looking.points(frames))


@pytest.fixture(scope="module")
def after(carphone: Swapped) -> Seen:
    frames = looking.frames(carphone[0])
    return Seen(frames, looking.points(frames))


def test_report_tells_what_was_written(carphone: Swapped) -> None:
    path, report = carphone
    assert report == SwapReport(120, 120, pytest.approx(4.004), 176, 144)  # type: ignore[arg-type]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_every_frame_is_there_at_its_time(media: Media, carphone: Swapped) -> None:
    assert looking.times(carphone[0]) == looking.times(media.carphone)
    assert len(looking.times(carphone[0])) == 120


def test_each_face_is_changed_and_nothing_around_it(before: Seen, after: Seen, plain: Path) -> None:
    for one, two, noise, face in zip(before.frames, after.frames, looking.frames(plain), before.points, strict=True):
        size = one.shape[:2]
        assert looking.changed(one, two, looking.inside(face, size, grow=-0.1)) > 8
        outside = ~looking.inside(face, size, grow=0.06)
        assert looking.changed(one, two, outside) < looking.changed(one, noise, outside) + 0.3


def test_the_new_face_moves_as_the_old_one_did(before: Seen, after: Seen) -> None:
    away = [looking.apart(one, two) for one, two in zip(before.points, after.points, strict=True)]
    assert np.mean(away) < 0.022
    assert np.percentile(away, 95) < 0.03


def test_the_new_face_is_as_steady_as_the_old_one(before: Seen, after: Seen) -> None:
    def shake(seen: Seen) -> float:
        """Mean second difference of the points relative to the head, in pixels."""
        faces = np.array(seen.points)[:, : mesh.SURFACE, :2]
        shapes = faces - faces.mean(1, keepdims=True)
        return float(np.linalg.norm(np.diff(shapes, 2, axis=0), axis=2).mean())

    assert shake(after) < 1.5 * shake(before)


def test_an_open_mouth_stays_open(before: Seen, after: Seen) -> None:
    seen = []
    for one, two, face in zip(before.frames, after.frames, before.points, strict=True):
        if np.linalg.norm(face[13] - face[14]) > 0.12 * width(face):
            mouth = looking.inside(face, one.shape[:2], mesh.INNER_LIPS, -0.02)
            seen.append(looking.changed(one, two, mouth))
    assert len(seen) >= 10

    assert np.mean(seen) < 10


def test_no_step_in_colour_at_the_edge(before: Seen, after: Seen) -> None:
    """Where the mask ends, neighbouring pixels differ hardly more than they did before."""
    ratios = []
    for one, two, face in zip(before.frames[::5], after.frames[::5], before.points[::5], strict=True):
        ring = looking.inside(face, one.shape[:2], grow=0.02) & ~looking.inside(face, one.shape[:2], grow=-0.05)
        steps = [np.abs(np.diff(frame.astype(np.int16), axis=1))[ring[:, 1:]].mean() for frame in (one, two)]
        ratios.append(steps[1] / steps[0])
    assert max(ratios) < 1.15


def test_the_new_face_stands_in_the_old_ones_light(before: Seen, after: Seen) -> None:
    """Its mean colour is that of the face it replaces, in each frame, though the portrait is much brighter."""
    for one, two, face in zip(before.frames, after.frames, before.points, strict=True):
        skin = looking.inside(face, one.shape[:2], grow=-0.08)
        assert np.abs(one[skin].mean(0) - two[skin].mean(0)).max() < 9


def test_it_is_labelled_as_synthetic(carphone: Swapped) -> None:
    with av.open(str(carphone[0])) as container:
        assert container.metadata["digital_source_type"] == label.SOURCE_TYPE
        assert container.metadata["comment"] == label.sentence("task-7")
    assert label.SOURCE_TYPE.encode() in carphone[0].read_bytes().split(label.BOX.bytes)[1]


def test_it_can_be_played_while_it_loads(carphone: Swapped) -> None:
    data = carphone[0].read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_sound_is_copied_untouched(media: Media, portrait: Swapped) -> None:
    def packets(path: Path) -> list[tuple[bytes, int | None]]:
        with av.open(str(path)) as container:
            return [(bytes(packet), packet.pts) for packet in container.demux(audio=0) if packet.size]

    assert packets(portrait[0]) == packets(media.portrait)


def test_a_turning_head_keeps_its_pose(media: Media, portrait: Swapped) -> None:
    old, new = (looking.points(looking.frames(path)[::2]) for path in (media.portrait, portrait[0]))
    assert max(looking.apart(one, two) for one, two in zip(old, new, strict=True)) < 0.03
