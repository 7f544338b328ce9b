"""Stills are swapped like frames and lose nothing else."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob, detect, swap
from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.media import stills
from batchswap.local.engine.metadata import label
from batchswap.local.engine.rendering import new_face
from manifests.demo_media import Media, read_anna, view
from tests.engine import landmarks


def load(path: Path) -> landmarks.Pixels:
    """Read the file unchanged: BGR, and transparency if there is any."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def read(path: Path) -> landmarks.Pixels:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_still_gets_a_new_face_and_a_label(ending: str, tmp_path: Path, media: Media) -> None:
    output = tmp_path / f"out.{ending}"
    report = swap(SwapJob(media.anna, output, ((None, media.grace),), label="task-9"))
    assert (report.frames, report.swapped_frames, report.width, report.height) == (1, 1, 512, 512)
    before, after = read(media.anna), read(output)
    face = landmarks.points([before])[0]
    assert landmarks.changed(before, after, landmarks.inside(face, (512, 512), grow=-0.1)) > 10
    outside = ~landmarks.inside(face, (512, 512), grow=0.02)
    assert landmarks.changed(before, after, outside) <= (0 if ending == "png" else 3)
    assert landmarks.apart(face, landmarks.points([after])[0]) < 0.03
    data = output.read_bytes()
    assert label.SOURCE_TYPE.encode() in data
    assert label.sentence("task-9").encode() in data


def test_transparency_is_kept(tmp_path: Path, media: Media) -> None:
    picture = load(media.anna)
    alpha = np.tile(np.arange(512, dtype=np.uint16) // 2, (512, 1)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), np.dstack([picture, alpha]))
    swap(SwapJob(tmp_path / "in.png", tmp_path / "out.png", ((None, media.grace),)))
    assert np.array_equal(load(tmp_path / "out.png")[..., 3], alpha)


def test_transparency_of_16_bits_is_kept_in_8(tmp_path: Path, media: Media) -> None:
    alpha = np.tile(np.arange(512, dtype=np.uint16) // 2, (512, 1))
    picture = np.dstack([load(media.anna).astype(np.uint16), alpha]) * 257
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    swap(SwapJob(tmp_path / "in.png", tmp_path / "out.png", ((None, media.grace),)))
    assert np.array_equal(load(tmp_path / "out.png")[..., 3], alpha)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_transparency_is_turned_with_the_picture(tmp_path: Path, ending: str, orientation: int) -> None:
    """The red part is transparent in every orientation."""
    stored = np.full((30, 40, 4), 255, np.uint8)
    stored[:10, :20] = (0, 0, 255, 0)
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    chunks = [np.frombuffer(exif, np.uint8)]
    how = [cv2.IMWRITE_WEBP_QUALITY, 101]  # lossless
    _, data = cv2.imencodeWithMetadata(ending, stored, [cv2.IMAGE_METADATA_EXIF], chunks, how)
    (tmp_path / f"in{ending}").write_bytes(data.tobytes())
    picture = stills.read(tmp_path / f"in{ending}", "image")
    assert picture.rgb.shape[:2] == ((40, 30) if orientation > 4 else (30, 40))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, picture.rgb[..., 1] == 0)


def test_a_picture_turned_by_exif_comes_out_upright(tmp_path: Path, media: Media) -> None:
    lying = np.rot90(load(media.grace))  # 90 degrees counterclockwise; 6 says: turn it clockwise
    exif = np.frombuffer(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", np.uint8)
    _, data = cv2.imencodeWithMetadata(".jpg", np.ascontiguousarray(lying), [cv2.IMAGE_METADATA_EXIF], [exif])
    (tmp_path / "in.jpg").write_bytes(data.tobytes())
    report = swap(SwapJob(tmp_path / "in.jpg", tmp_path / "out.jpg", ((None, media.anna),)))
    assert (report.width, report.height) == (512, 600)
    assert (
        landmarks.apart(landmarks.points([read(media.grace)])[0], landmarks.points([read(tmp_path / "out.jpg")])[0])
        < 0.03
    )


def test_the_largest_of_several_faces_is_used_with_a_remark(tmp_path: Path, media: Media) -> None:
    both = np.hstack([load(media.anna), load(media.grace)[:512]])
    cv2.imwrite(str(tmp_path / "both.png"), both)
    report = swap(SwapJob(media.anna, tmp_path / "out.png", ((None, tmp_path / "both.png"),)))
    assert report.notes == ("the face picture has 2 faces: the largest is used",)
    alone = swap(SwapJob(media.anna, tmp_path / "alone.png", ((None, media.grace),)))
    assert alone.notes == ()
    assert landmarks.changed(read(tmp_path / "out.png"), read(tmp_path / "alone.png"), np.ones((512, 512), bool)) < 1


def test_several_faces_of_a_still_can_be_chosen(tmp_path: Path, media: Media) -> None:
    both = np.hstack([load(media.anna), load(media.grace)[:512]])
    cv2.imwrite(str(tmp_path / "both.png"), both)
    found = detect(tmp_path / "both.png", tmp_path / "faces")
    assert [face.id for face in found.faces] == [0, 1]
    swap(SwapJob(tmp_path / "both.png", tmp_path / "out.png", ((1, media.grace),)))
    before, after = read(tmp_path / "both.png"), read(tmp_path / "out.png")
    assert np.array_equal(before[:, 512:], after[:, 512:])  # Grace is 0: larger
    assert not np.array_equal(before[:, :512], after[:, :512])


def test_a_still_without_a_face(tmp_path: Path, media: Media) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((99, 99, 3), 120, np.uint8))
    with pytest.raises(EngineError, match=r"^no face found in the image$"):
        swap(SwapJob(tmp_path / "wall.png", tmp_path / "out.png", ((None, media.anna),)))


def test_a_face_in_a_very_large_picture_is_found_in_its_place(media: Media) -> None:
    """The search uses a smaller copy, but the places are those of the picture itself."""
    anna, size = read_anna(media.anna), (6400, 4800)
    small = landmarks.points([view(anna, (640, 480), centre=(420, 260), width=120)])[0]
    picture = view(anna, size, centre=(4204.5, 2604.5), width=1200)
    assert max(new_face.shrink(picture).shape) == new_face.ENOUGH
    found = new_face.look_hard(picture)
    assert len(found) >= 1
    best = max(found, key=lambda face: geometry.area(geometry.box(face)))
    assert landmarks.apart(best / np.float32(10), small) < 0.03


def test_a_large_still_takes_little_more_memory_than_itself(tmp_path: Path, media: Media) -> None:
    picture = cv2.resize(load(media.anna), (4000, 4000))
    cv2.imwrite(str(tmp_path / "in.jpg"), picture)
    size = picture.nbytes
    del picture
    tracemalloc.start()
    try:
        swap(SwapJob(tmp_path / "in.jpg", tmp_path / "out.jpg", ((None, media.grace),)))
        assert tracemalloc.get_traced_memory()[1] < 6 * size
    finally:
        tracemalloc.stop()
