"""People in a clip: detection, chosen faces, and people who cross, leave and return."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from batchswap.errors import EngineError
from batchswap.local.engine import DetectedPeople, SwapJob, detect, swap
from manifests.demo_media import Media, duo_frames, read_anna, read_grace, write_video
from manifests.pixels import Pixels
from tests.engine import face_identity, landmarks, rendering

ANNA, GRACE = 0, 1


COUNT = 30


@pytest.fixture(scope="module")
def clip(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first second of two faces side by side."""
    pictures = duo_frames(read_anna(media.anna), read_grace(media.grace))
    return rendered(tmp_path_factory.mktemp("clip") / "duo.mp4", islice(pictures, COUNT))


@pytest.fixture(scope="module")
def duo(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> DetectedPeople:
    return detect(clip, tmp_path_factory.mktemp("duo"))


def load(path: Path) -> Pixels:
    """RGB."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


def test_detected_faces_come_largest_first(duo: DetectedPeople) -> None:
    grace, anna = duo.faces  # Grace is on the right and larger
    assert (grace.id, anna.id) == (0, 1)
    assert grace.share > anna.share > 0.02
    assert (grace.frames, anna.frames) == (COUNT, COUNT)


def test_each_detected_face_has_a_picture_of_its_own(duo: DetectedPeople) -> None:
    pictures = [load(face.picture) for face in duo.faces]
    hats = [picture[:20].mean() for picture in pictures]
    assert hats[0] < hats[1]  # Grace's cap is black
    assert len(landmarks.points(pictures)) == 2


def test_detection_gives_the_same_ids_again(duo: DetectedPeople, clip: Path, tmp_path: Path) -> None:
    again = detect(clip, tmp_path / "again", threads=1)
    assert [(face.id, face.share, face.frames) for face in again.faces] == [
        (face.id, face.share, face.frames) for face in duo.faces
    ]
    assert [face.picture.read_bytes() for face in again.faces] == [face.picture.read_bytes() for face in duo.faces]


def test_only_the_chosen_face_is_swapped(duo: DetectedPeople, clip: Path, media: Media, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    swap(SwapJob(clip, output, ((1, media.grace),)))
    before, after = landmarks.frames(clip), landmarks.frames(output)
    left, right = np.zeros(before[0].shape[:2], bool), np.zeros(before[0].shape[:2], bool)
    left[100:230, 110:210], right[100:250, 420:540] = True, True
    for one, two in zip(before[::9], after[::9], strict=True):
        assert landmarks.changed(one, two, left) > 10
        assert landmarks.changed(one, two, right) < 4


def test_the_primary_face_is_the_largest(clip: Path, media: Media, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    swap(SwapJob(clip, output, ((None, media.anna),)))
    right = np.zeros((360, 640), bool)
    right[100:250, 420:540] = True
    before, after = landmarks.frames(clip), landmarks.frames(output)
    assert landmarks.changed(before[7], after[7], right) > 10
    assert landmarks.changed(before[7], after[7], ~right) < 4


def test_an_unknown_id_names_the_known_ones(clip: Path, media: Media, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^face 3 was not detected in the video; detected: 0, 1$") as caught:
        swap(SwapJob(clip, tmp_path / "out.mp4", ((0, media.anna), (3, media.grace))))
    assert caught.value.culprit == "video"
    assert not list(tmp_path.iterdir())


def rendered(path: Path, frames: Iterator[Pixels]) -> Path:
    write_video(path, frames)
    return path


def where(picture: Pixels, marked: Pixels) -> float:
    """Return the middle column of the difference between two pictures. Fail if there is none."""
    columns = np.nonzero((np.abs(picture.astype(np.int16) - marked).max(2) > 60).sum(0) > 3)[0]
    assert columns.size
    return float(columns.mean())


@pytest.mark.parametrize("front", [ANNA, GRACE])
def test_people_who_cross_keep_their_faces(media: Media, tmp_path: Path, front: int) -> None:
    """The person behind starts on the left and ends on the right. The new face follows only this person."""
    anna, grace = read_anna(media.anna), read_grace(media.grace)
    back, before = (grace, anna) if front == ANNA else (anna, grace)
    clip = rendered(tmp_path / "clip.mp4", rendering.crossing(back, before))
    found = detect(clip, tmp_path / "faces")
    assert found.faces[0].frames == 40
    assert len(found.faces) == 2
    output = tmp_path / "out.mp4"
    report = swap(SwapJob(clip, output, ((1, media.grace if front == GRACE else media.anna),)))
    assert 18 <= report.swapped_frames < 40  # hidden in between
    original, swapped = landmarks.frames(clip), landmarks.frames(output)
    for number in (0, 5, 9, 31, 35, 39):
        assert abs(where(original[number], swapped[number]) - (100 + 250 * number / 39)) < 30
    assert landmarks.changed(original[20], swapped[20], np.ones(original[20].shape[:2], bool)) < 3


def test_an_object_in_front_of_a_face_stays_visible(media: Media, tmp_path: Path) -> None:
    """A microphone enters from the left and covers a cheek."""
    clip = rendered(tmp_path / "clip.mp4", rendering.covering(read_anna(media.anna)))
    output = tmp_path / "out.mp4"
    swap(SwapJob(clip, output, ((None, media.grace),)))
    before, after = landmarks.frames(clip), landmarks.frames(output)
    for number in (34, 37, 39):
        covered = before[number].max(2) < 50
        cheek = np.zeros_like(covered)
        cheek[110:165, 180:270] = True
        assert (covered & cheek).sum() > 500
        assert landmarks.changed(before[number], after[number], covered & cheek) < 12
        assert landmarks.changed(before[number], after[number], ~covered & cheek) > 12


@pytest.mark.parametrize("leaver", [ANNA, GRACE])
def test_a_person_who_leaves_and_returns_is_the_same_person(media: Media, tmp_path: Path, leaver: int) -> None:
    people = [read_anna(media.anna), read_grace(media.grace)]
    clip = rendered(tmp_path / "clip.mp4", rendering.returning(people[leaver], people[1 - leaver]))
    found = detect(clip, tmp_path / "faces")
    assert [face.frames for face in found.faces] == [50, 30]
    output = tmp_path / "out.mp4"
    report = swap(SwapJob(clip, output, ((1, media.grace if leaver == ANNA else media.anna),)))
    assert report.swapped_frames == 30
    original, swapped = landmarks.frames(clip), landmarks.frames(output)
    assert abs(where(original[10], swapped[10]) - 100) < 25
    assert abs(where(original[45], swapped[45]) - 339) < 25


@pytest.mark.parametrize("way", ["crossing", "returning"])
def test_two_people_who_exchange_faces_are_recognised_as_each_other(media: Media, tmp_path: Path, way: str) -> None:
    """Also after they cross, or after one was away. The engine does not use the network that recognises them."""
    anna, grace = read_anna(media.anna), read_grace(media.grace)
    moving = rendering.crossing if way == "crossing" else rendering.returning
    clip = rendered(tmp_path / "clip.mp4", moving(anna, grace))
    output = tmp_path / "out.mp4"
    swap(SwapJob(clip, output, ((0, media.anna), (1, media.grace))))  # Grace is in front, or stays
    before, after = landmarks.frames(clip), landmarks.frames(output)
    for number in (5, 35) if way == "crossing" else (6, 40):
        new, old = face_identity.people(after[number]), face_identity.people(before[number])
        assert [nearer(face, media) for face in old] == [nearer(face, media) for face in reversed(new)]
        assert {nearer(face, media) for face in new} == {ANNA, GRACE}


def nearer(face: NDArray[np.float64], media: Media) -> int:
    """Return the person whose face is nearer to this embedding."""
    return int(np.argmin([face_identity.apart(face, face_identity.person(path)) for path in (media.anna, media.grace)]))
