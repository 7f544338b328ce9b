"""Clips whose clock restarts (joined recordings), and clips that do not store their duration."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from batchswap.local.engine import SwapJob, probe, swap
from manifests.demo_media import Media, read_anna, view
from tests.engine.landmarks import Pixels

COUNT, RATE, SAMPLES = 25, 25, 48_000
CLICK = 12
"""The frame of each part at which a click is heard."""


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    anna = read_anna(media.anna)
    pictures = (view(anna, (320, 240), centre=(160 + 2 * n, 120), width=110) for n in range(COUNT))
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]


def part(frames: Sequence[Pixels], start: int, sound: str | None, form: str = "mpegts") -> bytes:
    """Return a second of a recording whose clock starts at `start` seconds."""
    target = io.BytesIO()
    with av.open(target, "w", format=form) as container:
        video = container.add_stream("libx264", rate=RATE)
        video.height, video.width, video.pix_fmt = *frames[0].shape[:2], "yuv420p"
        audio = cast("AudioStream", container.add_stream(sound, rate=SAMPLES, layout="mono")) if sound else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = start * RATE + number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            tone = np.zeros(SAMPLES, np.int16)
            click = CLICK * SAMPLES // RATE
            tone[click : click + 480] = (20_000 * np.sin(np.arange(480) / 3)).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = SAMPLES, start * SAMPLES, Fraction(1, SAMPLES)
            container.mux(audio.encode(heard))
            container.mux(audio.encode(None))
    return target.getvalue()


def clicks(path: Path) -> list[float]:
    """Return the times of the clicks in seconds."""
    found: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.2)
            time = float(frame.pts * frame.time_base) + (loud[0] / SAMPLES if loud.size else 0)
            if loud.size and (not found or time - found[-1] > 0.2):
                found.append(time)
    return found


def shown(path: Path) -> list[float]:
    """Return the times of the frames in seconds."""
    with av.open(str(path)) as container:
        stamps = [(frame.pts, frame.time_base) for frame in container.decode(video=0)]
    return [float(pts * unit) for pts, unit in stamps if pts is not None and unit]


@pytest.mark.parametrize("starts", [(0, 0, 0), (5, 3), (2000, 1), (0, 4000)], ids=str)
@pytest.mark.parametrize("sound", [None, "aac", "mp2"])
def test_joined_recordings_get_one_clock(
    tmp_path: Path, frames: list[Pixels], media: Media, starts: tuple[int, ...], sound: str | None
) -> None:
    clip, output = tmp_path / "clip.ts", tmp_path / "out.mp4"
    clip.write_bytes(b"".join(part(frames, start, sound) for start in starts))
    assert probe(clip, "video").duration_s == pytest.approx(len(starts), abs=0.1)
    report = swap(SwapJob(clip, output, ((None, media.grace),), threads=2))
    assert (report.frames, report.swapped_frames) == (COUNT * len(starts), COUNT * len(starts))
    times = shown(output)
    steps = np.diff(times)
    assert steps.min() > 0.5 / RATE
    assert steps.max() < 2.5 / RATE
    if sound:
        heard = clicks(output)
        assert len(heard) == len(starts)
        for number, time in enumerate(heard):
            assert time == pytest.approx(times[number * COUNT + CLICK], abs=0.03)


def test_a_part_without_sound_stays_in_sync(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    clip, output = tmp_path / "clip.ts", tmp_path / "out.mp4"
    clip.write_bytes(part(frames, 0, "aac") + part(frames, 0, None) + part(frames, 0, "aac"))
    swap(SwapJob(clip, output, ((None, media.grace),), threads=2))
    times, heard = shown(output), clicks(output)
    for number, time in zip((0, 2), heard, strict=True):
        assert time == pytest.approx(times[number * COUNT + CLICK], abs=0.03)


class Pipe:
    """An output without seeking, as of a recorder that cannot fill in the duration afterwards."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def test_a_duration_that_is_not_stored_is_measured(tmp_path: Path, frames: list[Pixels]) -> None:
    pipe = Pipe()
    with av.open(pipe, "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.height, video.width, video.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for number in range(80):
            frame = av.VideoFrame.from_ndarray(frames[number % COUNT], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(pipe.data)
    with av.open(str(clip)) as container:
        assert container.duration is None
    assert probe(clip, "video").duration_s == pytest.approx(80 / RATE, abs=0.001)
