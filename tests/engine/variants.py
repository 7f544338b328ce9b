"""The same short clip in many containers, as cameras, phones and editors make them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from tests.engine.landmarks import Pixels

STEP = Fraction(1, 600)
"""The unit of time stamps."""


@dataclass(frozen=True)
class Variant:
    """A variant of a clip. `rotation` (degrees counterclockwise) or `matrix` is its display orientation.

    `stamps` and `sound_at`, the start of the sound, are in STEPs. `rate`, `layout`, `language` and `track` describe the
    sound, `title` and `comment` the file.
    """

    ending: str = "mp4"
    codec: str = "libx264"
    pixels: str = "yuv420p"
    rotation: int = 0
    matrix: Sequence[int] = ()
    stamps: Sequence[int] | None = None
    sound: str | None = None
    sound_at: int | None = None
    rate: int = 16_000
    layout: str = "mono"
    full: bool = False
    title: str = ""
    comment: str = ""
    language: str = ""
    track: str = ""


def write(path: Path, frames: Sequence[Pixels], variant: Variant) -> Path:
    """Write RGB frames to `path` with the variant's suffix."""
    path = path.with_suffix(f".{variant.ending}")
    stamps = variant.stamps or range(0, 24 * len(frames), 24)
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": variant.title, "comment": variant.comment})
        video = cast("VideoStream", container.add_stream(variant.codec, rate=25))
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = variant.pixels
        video.codec_context.time_base = video.time_base = STEP
        video.codec_context.color_range = 2 if variant.full else 1
        if variant.codec == "libx264":
            video.options = {"crf": "12", "preset": "veryfast"}
        if variant.matrix:
            video.set_display_matrix(list(variant.matrix))
        if variant.rotation:
            video.set_display_rotation(variant.rotation)
        audio = (
            cast("AudioStream", container.add_stream(variant.sound, rate=variant.rate, layout=variant.layout))
            if variant.sound
            else None
        )
        if audio is not None:
            told = {"language": variant.language, "title": variant.track}
            audio.metadata.update({name: value for name, value in told.items() if value})
        for stamp, pixels in zip(stamps, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format=variant.pixels, dst_color_range=2 if variant.full else 1)
            frame.pts, frame.time_base = stamp, STEP
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            tone = (8000 * np.sin(np.arange(16_000) / 5)).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = (
                16_000,
                round((stamps[0] if variant.sound_at is None else variant.sound_at) * STEP * 16_000),
                Fraction(1, 16_000),
            )
            for each in av.AudioResampler(audio.codec_context.format, variant.layout, variant.rate).resample(sound):
                container.mux(audio.encode(each))
            container.mux(audio.encode(None))
    return path
