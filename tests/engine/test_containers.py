"""For any container, the result keeps the clip's time stamps, orientation, size, colours and sound."""

from pathlib import Path

import av
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, SwapReport, probe, swap
from batchswap.local.engine.metadata import label
from manifests.demo_media import Media, read_anna, view
from tests.engine import landmarks
from tests.engine.landmarks import Pixels
from tests.engine.variants import Variant, write

COUNT = 12


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    """Return frames of Anna with a little movement."""
    anna = read_anna(media.anna)
    pictures = (view(anna, (320, 240), centre=(160 + 2 * n, 120), width=110) for n in range(COUNT))
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]


def run(clip: Path, media: Media) -> tuple[Path, SwapReport]:
    output = clip.with_name("swapped.mp4")
    return output, swap(SwapJob(clip, output, ((None, media.grace),), threads=1))


def stream(path: Path) -> tuple[object, ...]:
    with av.open(str(path)) as container:
        video = container.streams.video[0].codec_context
        return video.name, video.pix_fmt, video.width, video.height, video.color_range


def test_a_turned_clip_stays_turned(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    lying = [np.rot90(frame, -1) for frame in frames]  # an upright phone stores a turned picture and its rotation
    clip = write(tmp_path / "clip", lying, Variant(rotation=90))
    info = probe(clip, "video")
    assert (info.width, info.height) == (320, 240)
    output, report = run(clip, media)
    assert (report.width, report.height, report.swapped_frames) == (320, 240, COUNT)
    with av.open(str(output)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 90
        assert (frame.width, frame.height) == (240, 320)
    upright = [np.ascontiguousarray(np.rot90(frame)) for frame in landmarks.frames(output)]
    for old, new in zip(landmarks.points(frames), landmarks.points(upright), strict=True):
        assert landmarks.apart(old, new) < 0.04
    whole = np.ones(frames[0].shape[:2], bool)
    assert all(landmarks.changed(one, two, whole) > 2 for one, two in zip(frames, upright, strict=True))


@pytest.mark.parametrize("size", [(241, 320), (240, 319), (241, 319)])
def test_an_odd_size_is_kept(tmp_path: Path, frames: list[Pixels], media: Media, size: tuple[int, int]) -> None:
    cut = [frame[: size[0] - 1, : size[1]] if size[0] > 240 else frame[:, : size[1]] for frame in frames]
    if size[0] > 240:
        cut = [np.vstack([frame, frame[-1:]]) for frame in cut]
    clip = write(tmp_path / "clip", cut, Variant(pixels="yuv444p"))
    output, report = run(clip, media)
    assert (report.height, report.width) == size
    assert stream(output)[2:4] == (size[1], size[0])
    assert landmarks.frames(output)[0].shape[:2] == size


def test_time_stamps_of_any_rhythm_are_kept(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    stamps = [0, 10, 35, 36, 80, 81, 82, 200, 240, 250, 251, 300]
    clip = write(tmp_path / "clip", frames, Variant(stamps=stamps))
    output, report = run(clip, media)
    assert report.frames == COUNT
    assert [round(time * 600) for time in landmarks.times(output)] == stamps


@pytest.mark.parametrize(
    "variant",
    [
        Variant(ending="webm", codec="libvpx-vp9"),
        Variant(ending="mkv", codec="ffv1"),
        Variant(ending="avi", codec="mpeg4"),
        Variant(ending="ts"),
        Variant(codec="libx265", pixels="yuv420p10le"),
        Variant(pixels="yuv422p"),
        Variant(ending="mov", codec="prores_ks", pixels="yuv422p10le"),
    ],
    ids=lambda variant: f"{variant.ending}-{variant.codec}-{variant.pixels}",
)
def test_any_codec_comes_out_as_h264(tmp_path: Path, frames: list[Pixels], media: Media, variant: Variant) -> None:
    clip = write(tmp_path / "clip", frames, variant)
    output, report = run(clip, media)
    assert (report.frames, report.swapped_frames) == (COUNT, COUNT)
    assert stream(output)[:4] == ("h264", "yuv420p", 320, 240)
    corner = np.zeros(frames[0].shape[:2], bool)
    corner[:60, :60] = True
    assert landmarks.changed(landmarks.frames(clip)[5], landmarks.frames(output)[5], corner) < 5


def test_the_full_range_of_colours_is_kept(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    clip = write(tmp_path / "clip", frames, Variant(full=True))
    output, _ = run(clip, media)
    assert stream(clip)[4] == stream(output)[4] == 2
    corner = np.zeros(frames[0].shape[:2], bool)
    corner[:60, :60] = True
    assert landmarks.changed(landmarks.frames(clip)[5], landmarks.frames(output)[5], corner) < 4


@pytest.mark.parametrize(
    ("ending", "sound", "expected"), [("mkv", "pcm_s16le", "aac"), ("mp4", "aac", "aac"), ("mp4", "libmp3lame", "mp3")]
)
def test_sound_is_kept(
    tmp_path: Path, frames: list[Pixels], media: Media, ending: str, sound: str, expected: str
) -> None:
    clip = write(tmp_path / "clip", frames, Variant(ending=ending, sound=sound))
    output, _ = run(clip, media)
    with av.open(str(output)) as container:
        audio = container.streams.audio[0]
        assert audio.codec_context.codec.canonical_name == expected
        samples = sum(frame.samples for frame in container.decode(audio))
    assert 16_000 <= samples <= 18_500  # a second, and the encoder's padding


def test_sound_in_a_format_of_mp4_is_copied(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    clip = write(tmp_path / "clip", frames, Variant(sound="libmp3lame"))
    output, _ = run(clip, media)
    assert sound_packets(output) == sound_packets(clip)


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


@pytest.mark.parametrize("sound", ["aac", "pcm_s16le"])
def test_a_sound_track_keeps_its_language_and_its_name(
    tmp_path: Path, frames: list[Pixels], media: Media, sound: str
) -> None:
    """Players choose between tracks by them."""
    clip = write(tmp_path / "clip", frames, Variant(ending="mkv", sound=sound, language="ger", track="Deutsch"))
    output, _ = run(clip, media)
    with av.open(str(output)) as container:
        audio = container.streams.audio[0]
        assert audio.language == "ger"
        assert audio.metadata["name"] == "Deutsch"  # FFmpeg's name for a track's title in MP4


def test_frames_without_a_face_pass_through(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    wall = np.full_like(frames[0], 90)
    wall[::16] = 140
    clip = write(tmp_path / "clip", [wall] * 6 + frames + [wall] * 6, Variant())
    output, report = run(clip, media)
    assert (report.frames, report.swapped_frames) == (COUNT + 12, COUNT)
    whole = np.ones(wall.shape[:2], bool)
    before, after = landmarks.frames(clip), landmarks.frames(output)
    for number in (0, 5, COUNT + 6, COUNT + 11):
        assert landmarks.changed(before[number], after[number], whole) < 2.5


def test_a_broadcasts_clock_is_set_to_zero(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    stamps = range(6000, 6000 + 24 * COUNT, 24)
    clip = write(tmp_path / "clip", frames, Variant(ending="ts", sound="aac", stamps=stamps))
    output, _ = run(clip, media)
    with av.open(str(clip)) as before, av.open(str(output)) as after:
        assert before.start_time > 9 * av.time_base
        assert abs(after.start_time) < av.time_base // 10
    assert landmarks.times(output) == landmarks.times(clip)


def test_the_metadata_of_the_clip_is_kept(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    clip = write(tmp_path / "clip", frames, Variant(title="A test", comment="Made by a model"))
    output, _ = run(clip, media)
    with av.open(str(output)) as container:
        assert container.metadata["title"] == "A test"
        assert container.metadata["comment"] == f"{label.sentence('')} Made by a model"


def test_an_unreadable_sound_track_is_left_out_with_a_remark(
    tmp_path: Path, frames: list[Pixels], media: Media
) -> None:
    """Newer phones add one next to the one that all players support."""
    clip = write(tmp_path / "clip", frames, Variant(ending="mkv", sound="aac"))
    clip.write_bytes(clip.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    output, report = run(clip, media)
    assert report.notes == ("a sound track cannot be read and is left out",)
    with av.open(str(output)) as container:
        assert not container.streams.audio


def test_a_broadcast_with_an_empty_sound_track_is_swapped(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    clip = write(tmp_path / "clip", frames, Variant(ending="ts", sound="aac"))
    sound = next(pid for pid in (0x100, 0x101) if pid != picture_of(clip))
    packets = (clip.read_bytes()[start : start + 188] for start in range(0, clip.stat().st_size, 188))
    clip.write_bytes(b"".join(each for each in packets if int.from_bytes(each[1:3], "big") & 0x1FFF != sound))
    output, report = run(clip, media)
    assert (report.frames, report.swapped_frames) == (COUNT, COUNT)
    assert landmarks.times(output) == landmarks.times(clip)


def picture_of(clip: Path) -> int:
    """Return the id of the picture's packets in a transport stream."""
    with av.open(str(clip)) as container:
        return container.streams.video[0].id
