"""Further tracks of a clip are kept, or the report names those that are left out."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags
from av.video.frame import VideoFrame

from batchswap.local.engine import SwapJob, SwapReport, swap
from batchswap.local.engine.media import subtitles
from manifests.demo_media import Media, read_anna, view
from tests.engine.landmarks import Pixels
from tests.engine.variants import Variant, write

COUNT = 12
LATE = Fraction(100)
"""Start of a clip's clock in seconds."""


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    picture = view(read_anna(media.anna), (320, 240), centre=(150, 120), width=110)
    return [np.ascontiguousarray(picture[..., ::-1])] * COUNT


def run(clip: Path, media: Media) -> tuple[Path, SwapReport]:
    output = clip.with_name("swapped.mp4")
    return output, swap(SwapJob(clip, output, ((None, media.grace),), threads=1))


def chapter(start: int, title: str) -> Any:
    """Return a chapter of a fifth of a second."""
    return {
        "id": start,
        "start": start,
        "end": start + 200,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def rich(path: Path, frames: list[Pixels], coded: str, lines: list[bytes]) -> Path:
    """Write a film with subtitles, chapters, a font and a second video track."""
    stamps = range(int(LATE * 600), int(LATE * 600) + 24 * COUNT, 24)
    plain = write(path.with_name("plain"), frames, Variant(ending="mkv", stamps=stamps))
    with av.open(str(plain)) as reader, av.open(str(path), "w") as writer:
        copies = [writer.add_stream_from_template(reader.streams.video[0]) for _ in range(2)]
        words: Any = writer.add_stream(coded)
        words.codec_context.subtitle_header = subtitles.HEADER
        words.metadata.update({"language": "ger", "title": "Deutsch"})
        writer.add_attachment("font.ttf", "font/ttf", b"no font")
        writer.set_chapters([chapter(100_000, "Part 0"), chapter(100_200, "Part 1")])
        for packet in reader.demux(video=0):
            if packet.size:
                data, dts, pts, unit = bytes(packet), packet.dts, packet.pts, packet.time_base
                for copy in copies:
                    again = av.Packet(data)
                    again.dts, again.pts, again.time_base, again.stream = dts, pts, unit, copy
                    again.is_keyframe = packet.is_keyframe
                    writer.mux_one(again)
        for number, line in enumerate(lines):
            said = av.Packet(line)
            said.pts = said.dts = 100_000 + 100 * number
            said.duration, said.time_base, said.stream = 80, Fraction(1, 1000), words
            writer.mux_one(said)
    return path


@pytest.mark.parametrize(
    ("coded", "lines"),
    [
        ("subrip", [b"<i>Gr\xc3\xbc\xc3\x9fe</i>", b"second"]),
        ("ass", [b"0,0,Default,,0,0,0,,{\\i1}Gr\xc3\xbc\xc3\x9fe", b"1,0,Default,,0,0,0,,second"]),
    ],
)
def test_subtitles_and_chapters_are_kept(
    tmp_path: Path, frames: list[Pixels], media: Media, coded: str, lines: list[bytes]
) -> None:
    output, report = run(rich(tmp_path / "clip.mkv", frames, coded, lines), media)
    assert report.notes == ("left out: 1 other video track, 1 attachment",)
    with av.open(str(output)) as container:
        assert [(each["start"], each["end"], each["metadata"]["title"]) for each in container.chapters()] == [
            (0, 200, "Part 0"),
            (200, 400, "Part 1"),
        ]
        track = container.streams.subtitles[0]
        assert (track.language, subtitles.coding(track)) == ("ger", "mov_text")
        shown = [
            (bytes(packet)[2:].decode(), float(packet.pts * packet.time_base))
            for packet in container.demux(track)
            if packet.size > 2 and packet.pts is not None and packet.time_base
        ]
    assert [text for text, _ in shown] == ["Grüße", "second"]
    assert [time for _, time in shown] == pytest.approx([0, 0.1], abs=0.002)


def test_subtitles_of_a_result_are_kept_again(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    """In MP4's own form, with its chapters, and without a remark on the track that holds them."""
    first, _ = run(rich(tmp_path / "clip.mkv", frames, "subrip", [b"one", b"two"]), media)
    again = first.rename(tmp_path / "again.mp4")
    output, report = run(again, media)
    assert report.notes == ()
    with av.open(str(output)) as container:
        assert len(container.chapters()) == 2
        packets = [bytes(packet)[2:] for packet in container.demux(container.streams.subtitles[0]) if packet.size > 2]
    assert packets == [b"one", b"two"]


@pytest.mark.parametrize(
    ("data", "coded", "text"),
    [
        (b"a <b>bold</b> word\r\n", "subrip", "a bold word"),
        (b"3 < 4", "webvtt", "3 < 4"),
        (rb"7,0,Default,,0,0,0,,One\NTwo, and {\pos(1,2)}three", "ass", "One\nTwo, and three"),
        (b"\xff\xfe", "text", "\ufffd\ufffd"),
        (b"x" * 70_000, "text", "x" * 65_535),
    ],
)
def test_text_is_converted_to_the_form_of_mp4(data: bytes, coded: str, text: str) -> None:
    sample = subtitles.timed_text(data, coded)
    assert int.from_bytes(sample[:2], "big") == len(sample) - 2
    assert sample[2:].decode() == text


def test_an_interlaced_recording_stays_interlaced(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    """Television and older cameras make such recordings."""
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.flags |= int(Flags.interlaced_dct | Flags.interlaced_me)
        for picture in frames:
            container.mux(video.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    output, report = run(clip, media)
    for path in (clip, output):
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).interlaced_frame
    assert report.notes == ()
