"""The proof of swap: what it makes of real swaps, of copies without a swap, and of files that it cannot use."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image

from batchswap.delivery import strip
from batchswap.delivery.examination import Examination, FaceInput, SwapProof
from batchswap.delivery.proof import examine, frames, recognition
from batchswap.local.engine import SwapJob, swap
from batchswap.states import Quality
from batchswap.tasks import MediaKind
from manifests.demo_media import Media, duo_frames, read_anna, read_grace
from manifests.pixels import Pixels
from tests.benchmarks.labelled_results import FRAMES, Coded, make_cast, man_from, swapped, write
from tests.engine import face_identity, landmarks


class Clips(NamedTuple):
    """A target of the man, and its frames with Anna's face."""

    target: Path
    before: list[Pixels]
    after: list[Pixels]
    anna: Path
    grace: Path


@pytest.fixture(scope="module")
def clips(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    folder = tmp_path_factory.mktemp("clips")
    before = list(man_from(0, (352, 288), make_cast(folder)))
    target = write(folder / "target.mp4", before, Coded(17))
    return Clips(target, before, swapped(target, folder, (None, media.anna)), media.anna, media.grace)


def look(
    result: Path, target: Path | None, *faces: Path | None, kind: MediaKind = "video", picture: Path | None = None
) -> SwapProof:
    return examine(Examination(result, kind, target, tuple(FaceInput(face) for face in faces), strip=picture))


CASES = {
    "swapped, strongly compressed, another rate": (Coded(36, rate=30), 1.0, Quality.SWAPPED),
    "swapped, smaller, late": (Coded(23, scale=0.6, late=2), 1.0, Quality.SWAPPED),
    "half swapped": (Coded(26), 0.5, Quality.PARTLY),
    "original, strongly compressed": (Coded(40), 0.0, Quality.UNCHANGED),
    "original, on its side, brighter": (Coded(26, light=1.15, turned=90), 0.0, Quality.UNCHANGED),
}


@pytest.mark.parametrize(("coded", "share", "quality"), CASES.values(), ids=list(CASES))
def test_a_clip_is_judged(clips: Clips, tmp_path: Path, coded: Coded, share: float, quality: Quality) -> None:
    cut = round(share * FRAMES)
    result = write(tmp_path / "result.part", [*clips.after[:cut], *clips.before[cut:]], coded)
    found = look(result, clips.target, clips.anna)
    assert found.quality == quality, found.evidence
    assert found.share == pytest.approx(share, abs=0.2)
    assert found.score is not None
    assert (found.score > 0.5) == (quality == Quality.SWAPPED)
    assert found.evidence["frames"] in range(8, 17)


def test_another_person_needs_the_user(clips: Clips, tmp_path: Path) -> None:
    result = write(tmp_path / "result.mp4", clips.after, Coded(23))
    found = look(result, clips.target, clips.grace)
    assert (found.quality, found.share) == (Quality.PARTLY, 0.0)
    assert "another person" in found.evidence["reason"]


def test_what_cannot_be_had_is_named(clips: Clips, tmp_path: Path) -> None:
    result = write(tmp_path / "result.mp4", clips.after, Coded(23))
    alone = look(result, None, clips.anna)
    assert (alone.quality, list(alone.evidence["missing"])) == (Quality.SWAPPED, ["target"])
    assert look(clips.target, None, clips.anna).quality == Quality.UNKNOWN, "only a swap can be seen without the target"
    faceless = look(result, clips.target, None)
    assert (faceless.quality, list(faceless.evidence["missing"])) == (Quality.UNKNOWN, ["face"])
    assert look(clips.target, clips.target, None).quality == Quality.UNCHANGED


def test_a_target_of_which_no_frame_can_be_decoded_counts_as_missing(clips: Clips, tmp_path: Path) -> None:
    """Its header is whole, and its pictures are zeros."""
    data = bytearray(clips.target.read_bytes())
    start = data.index(b"mdat")
    size = int.from_bytes(data[start - 4 : start])
    data[start + 4 : start - 4 + size] = bytes(size - 8)
    (tmp_path / "hollow.mp4").write_bytes(data)
    found = look(write(tmp_path / "result.mp4", clips.after, Coded(23)), tmp_path / "hollow.mp4", clips.anna)
    assert found.quality == Quality.SWAPPED
    assert found.evidence["missing"] == {"target": "no frame of it could be read at the moments of the result"}


def test_the_same_person_cannot_be_told_apart(media: Media) -> None:
    found = look(media.anna, media.anna, media.anna, kind="image")
    assert found.quality == Quality.UNKNOWN
    assert found.evidence["reason"] == "the old and the new face look alike"


def test_stills_in_several_formats(media: Media, tmp_path: Path) -> None:
    swap(SwapJob(media.grace, tmp_path / "swapped.png", ((None, media.anna),)))
    done, empty = Image.open(tmp_path / "swapped.png").convert("RGB"), Image.new("RGB", (600, 400), (90, 120, 60))
    done.save(tmp_path / "swapped.webp", quality=70)
    assert look(tmp_path / "swapped.webp", media.grace, media.anna, kind="image").quality == Quality.SWAPPED
    Image.open(media.grace).resize((400, 470)).save(tmp_path / "same.jpg", quality=50)
    assert look(tmp_path / "same.jpg", media.grace, media.anna, kind="image").quality == Quality.UNCHANGED
    empty.save(tmp_path / "empty.png")
    assert look(tmp_path / "empty.png", tmp_path / "empty.png", media.anna, kind="image").quality == Quality.NO_FACE
    gone = look(tmp_path / "empty.png", media.grace, media.anna, kind="image")
    assert gone.quality == Quality.NO_FACE
    assert gone.evidence["reason"] == "the result shows no face where the target shows one"


def test_each_chosen_face_counts(media: Media, tmp_path: Path) -> None:
    """The two people of the duo, with ids in the order of their size: Grace, Anna."""
    picture = next(iter(duo_frames(read_anna(media.anna), read_grace(media.grace))))
    target, man = tmp_path / "duo.png", make_cast(tmp_path / "cast").faces["man"]
    cv2.imwrite(str(target), picture)
    one, both = tmp_path / "one.png", tmp_path / "both.png"
    swap(SwapJob(target, one, ((0, man),)))
    swap(SwapJob(target, both, ((0, media.anna), (1, man))))

    def chosen(result: Path, *faces: tuple[int, Path]) -> Quality:
        inputs = tuple(FaceInput(path, face_id) for face_id, path in faces)
        return examine(Examination(result, "image", target, inputs, is_multi=True)).quality

    assert chosen(one, (0, man)) == Quality.SWAPPED
    assert chosen(both, (0, media.anna), (1, man)) == Quality.SWAPPED
    assert chosen(both, (1, man)) == Quality.PARTLY, "a face that was not chosen changed"
    assert chosen(one, (0, man), (1, media.grace)) != Quality.SWAPPED
    assert chosen(target, (0, man), (1, man)) == Quality.UNCHANGED


@pytest.mark.parametrize(
    "content", [b"", b"junk" * 100, b"\x89PNG\r\n\x1a\n" + b"\0" * 50], ids=["empty", "junk", "png"]
)
def test_a_file_that_is_no_media_makes_the_quality_unknown(clips: Clips, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "secret-name.mp4"
    bad.write_bytes(content)
    kinds: tuple[tuple[MediaKind, Path], ...] = (("video", clips.target), ("image", clips.anna))
    for kind, target in kinds:
        found = look(bad, target, clips.grace, kind=kind)
        assert found.quality == Quality.UNKNOWN
        assert "result" in found.evidence["reason"]
        assert "secret-name" not in str(found.evidence)


def test_other_bad_inputs(clips: Clips, tmp_path: Path) -> None:
    for result in (tmp_path / "gone.mp4", tmp_path):
        assert look(result, clips.target, clips.anna).evidence["reason"].startswith("the result ")
    assert look(clips.anna, clips.target, clips.anna).quality == Quality.UNKNOWN, "a picture instead of a clip"
    swap_of_stills = look(clips.target, clips.anna, clips.anna, kind="image")
    assert swap_of_stills.quality == Quality.UNKNOWN, "a clip instead of a picture"
    bad = tmp_path / "bad"
    bad.write_bytes(b"junk" * 100)
    found = look(clips.target, bad, bad)
    assert (found.quality, sorted(found.evidence["missing"])) == (Quality.UNKNOWN, ["face", "target"])


def test_a_clip_that_is_cut_off_is_judged_by_its_start(clips: Clips, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", clips.after, Coded(23)).read_bytes()
    part = tmp_path / "part.mp4"
    part.write_bytes(whole[: len(whole) * 2 // 3])
    assert look(part, clips.target, clips.anna).quality in (Quality.SWAPPED, Quality.UNKNOWN)


def test_a_clip_of_which_only_the_start_can_be_read_is_unknown(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = write(tmp_path / "long.mp4", clips.after * 5, Coded(30))
    monkeypatch.setattr(frames, "MOST_DECODED", 8)
    found = look(long, None, clips.anna)
    assert (found.quality, found.evidence["reason"]) == (Quality.UNKNOWN, "only the first 0 seconds could be read")


def test_a_clip_of_one_frame_and_a_gif(clips: Clips, tmp_path: Path) -> None:
    result = write(tmp_path / "one.mp4", clips.after[:1], Coded(20))
    found = look(result, clips.target, clips.anna)
    assert (found.quality, found.evidence["frames"]) == (Quality.SWAPPED, 1)
    shown = [Image.fromarray(np.ascontiguousarray(frame[..., ::-1])) for frame in clips.before[:6]]
    shown[0].save(tmp_path / "target.gif", save_all=True, append_images=shown[1:], duration=40)
    result = write(tmp_path / "six.mp4", clips.after[:6], Coded(20))
    assert look(result, tmp_path / "target.gif", clips.anna).quality == Quality.SWAPPED


def test_a_long_clip_is_sought(clips: Clips, tmp_path: Path) -> None:
    """Of 900 frames, only those near the moments are decoded, and the last moment is near the end."""
    small = [cv2.resize(frame, (176, 144), interpolation=cv2.INTER_AREA) for frame in clips.before]
    long = write(tmp_path / "long.mp4", small * 38, Coded(30))
    with frames.opened(long, "target") as source:
        keys, seconds = source.keys, source.seconds
        moment = source.at(keys[-1] + 0.1)
        decoded = source._decoded
    assert (len(keys) > 2, seconds > 30) == (True, True)
    assert moment is not None
    assert moment[0] == pytest.approx(keys[-1] + 0.1, abs=0.03)
    assert decoded < 20
    found = list(frames.read(long, long, "video"))
    assert found[-1].time > 0.85 * seconds
    assert all(np.array_equal(pair.target, pair.result) for pair in found if pair.target is not None)


def test_frames_of_different_rates_show_the_same_moment(clips: Clips, tmp_path: Path) -> None:
    other = write(tmp_path / "other.mp4", clips.before, Coded(20, rate=50))
    pairs = list(frames.read(other, clips.target, "video"))
    apart = [float(np.abs(pair.result.astype(int) - pair.target).mean()) for pair in pairs if pair.target is not None]
    assert len(apart) == len(pairs) >= 8
    assert max(apart) < 4, "two frames that follow each other differ more"


def test_the_network_gives_the_embeddings_of_dlib(media: Media) -> None:
    pictures = [landmarks.read_rgb(media.anna), landmarks.read_rgb(media.grace)]
    chips = [recognition.chip(picture, landmarks.points([picture])[0]) for picture in pictures]
    theirs = [np.asarray(face_identity._network().compute_face_descriptor(chip)) for chip in chips]
    assert np.abs(recognition.embeddings(chips) - theirs).max() < 1e-4
    own = [face_identity.person(path) for path in (media.anna, media.grace)]
    assert all(face_identity.apart(one, two) < 0.2 for one, two in zip(theirs, own, strict=True))


def test_nothing_of_the_68_point_model_is_loaded(media: Media) -> None:
    """Its licence forbids commercial use. The process is asked which files it has opened."""
    code = (
        "import sys; sys.addaudithook(lambda name, given: name == 'open' and '68_face' in str(given) and sys.exit(3))\n"
        "from pathlib import Path; from batchswap.delivery.examination import Examination, FaceInput\n"
        f"from batchswap.delivery.proof import examine; anna = Path({str(media.anna)!r})\n"
        "print(examine(Examination(anna, 'image', anna, (FaceInput(anna),))).quality, 'dlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["unknown", "False"]


def strips(picture: Path) -> tuple[int, int]:
    assert picture.stat().st_mode & 0o777 == 0o600
    data = picture.read_bytes()
    assert len(data) <= strip.MOST_BYTES
    shown = Image.open(io.BytesIO(data))
    assert shown.format == "WEBP"
    return shown.size


def test_the_strip_shows_target_and_result(clips: Clips, tmp_path: Path) -> None:
    result = write(tmp_path / "result.mp4", clips.after, Coded(23, light=0.6))
    picture = tmp_path / "pictures" / "ab" / "strip.webp"
    assert look(result, clips.target, clips.anna, picture=picture).has_strip
    assert strips(picture) == (3 * strip.CELL + 2 * strip.GAP, 2 * strip.CELL + strip.GAP)
    rows = np.asarray(Image.open(picture).convert("L"), np.float32)
    assert rows[: strip.CELL].mean() > 1.4 * rows[-strip.CELL :].mean(), "the target is above the darker result"
    assert [path.name for path in picture.parent.iterdir()] == ["strip.webp"]
    assert look(result, None, clips.anna, picture=picture).has_strip
    assert strips(picture) == (3 * strip.CELL + 2 * strip.GAP, strip.CELL)


@pytest.mark.parametrize("size", [(720, 1280), (144, 176)], ids=["large", "small"])
def test_a_picture_of_the_strip_has_the_face_in_its_middle(size: tuple[int, int]) -> None:
    """A white square takes the middle third of each side, and the rest is black."""
    picture = np.zeros((*size, 3), np.uint8)
    high, wide = size
    reach = high / 10
    x, y = 0.7 * wide, 0.4 * high
    cv2.rectangle(
        picture,
        (round(x - reach / 2), round(y - reach / 2)),
        (round(x + reach / 2), round(y + reach / 2)),
        (255,) * 3,
        -1,
    )
    place = ((x - reach) / wide, (y - reach) / high, (x + reach) / wide, (y + reach) / high)
    shown = strip._cut(picture, place, strip.CELL)[..., 0] > 127
    rows, columns = np.nonzero(shown)
    assert (rows.mean(), columns.mean()) == pytest.approx((strip.CELL / 2, strip.CELL / 2), abs=2.5)
    assert np.ptp(columns) == pytest.approx(strip.CELL / 3, abs=6)


def test_a_strip_of_noise_is_small_too(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (322, 484, 3), np.uint8)
    assert len(strip.encode(noise)) <= strip.MOST_BYTES


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_no_room_for_a_strip_is_no_error(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", full)
    picture = tmp_path / "strip.webp"
    found = look(clips.anna, clips.anna, clips.grace, kind="image", picture=picture)
    assert (found.quality, found.has_strip) == (Quality.UNCHANGED, False)
    assert found.evidence["strip"] == f"no room for the strip: {os.strerror(code)}"
    assert list(tmp_path.iterdir()) == []
