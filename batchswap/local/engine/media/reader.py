"""Open and read clips: only real media files, with all frames in one pixel format."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from batchswap.errors import EngineError
from batchswap.local.engine.media.colour_planes import Coding, Planes, coding_of
from batchswap.local.engine.media.orientation import keep_matrix, orientation_of
from batchswap.local.engine.media.timeline import Timeline
from batchswap.local.engine.tracking.finder import LONGEST
from batchswap.local.engine.values import noun

VIDEOS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,gif"
# No playlists, which could name other files and addresses: a file must contain its media.
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": VIDEOS, "export_xmp": "1"}
FrameOrPacket: TypeAlias = "VideoFrame | Packet[Any]"
"""The items of a clip: decoded frames, and packets of sound and subtitles."""

CLOCKED = ("mpegts", "mpeg")
RGB = 0
"""AVCOL_SPC_RGB: the stream has RGB instead of Y'CbCr."""


@dataclass(frozen=True)
class Clip:
    """An open video. Use `frames` or `packets` once."""

    container: InputContainer
    video: VideoStream
    culprit: str
    path: Path

    @property
    def audio(self) -> tuple[AudioStream, ...]:
        """The readable sound tracks. Phones add one in their own coding, and broadcasts announce empty ones."""
        return tuple(
            track for track in self.container.streams.audio if is_known(track) and track.codec_context.sample_rate
        )

    @property
    def start(self) -> Fraction:
        """Time at which the clip starts by its own clock, which may have run long before.

        Sound before zero is the lead-in of its encoder and not part of the clip.
        """
        start = Fraction(self.container.start_time or 0, av.time_base)
        if start >= 0:
            return start
        own = (self.video.start_time or 0) * (self.video.time_base or Fraction(0))
        return min(own, Fraction(0))

    @property
    def format(self) -> str:
        """Pixel format for all frames and the result: 8 bit, with halved chroma unless the size is odd."""
        name = self.video.codec_context.pix_fmt or ""
        full = "j" if name.startswith("yuvj") else ""
        odd = self.video.codec_context.width % 2 or self.video.codec_context.height % 2
        return f"yuv{full}{'444' if odd else '420'}p"

    @property
    def coding(self) -> Coding:
        context = self.video.codec_context
        full = 2 if self.format.startswith("yuvj") else context.color_range
        return coding_of(context.colorspace, full, context.height)

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames in display order, in `format` and not mirrored."""
        for item in self.packets(()):
            if isinstance(item, VideoFrame):
                yield item

    def packets(self, others: "tuple[AudioStream | SubtitleStream, ...]") -> Iterator[FrameOrPacket]:
        """Yield frames, and between them the undecoded packets of `others`, all by one clock (timeline.py)."""
        with self._as_engine_errors():
            for packet in self._packets(others):
                if packet.stream is self.video:
                    yield from (self.normalized(frame) for frame in packet.decode() if isinstance(frame, VideoFrame))
                elif packet.size:
                    yield packet

    def sound(self) -> "Iterator[Packet[AudioStream]]":
        """Yield the packets of all sound tracks by the file's own clock."""
        with self._as_engine_errors():
            if self.audio:
                yield from cast("Iterator[Packet[AudioStream]]", self.container.demux(*self.audio))

    def measure(self) -> float:
        """Return the duration of the video's packets. Read the whole clip, but decode nothing."""
        first, end = Fraction(0), None
        with self._as_engine_errors():
            for packet in self._packets(()):
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None and packet.time_base:
                    time = stamp * packet.time_base
                    first = time if end is None else min(first, time)
                    end = max(time if end is None else end, time + (packet.duration or 0) * packet.time_base)
        return float((end or first) - first)

    def _packets(self, others: "tuple[AudioStream | SubtitleStream, ...]") -> "Iterator[Packet[Any]]":
        timeline = Timeline(restarts=bool(self.container.format.flags & cast("int", Flags.ts_discont.value)))
        for packet in self.container.demux(self.video, *others):
            timeline.place(packet)
            yield packet

    @contextlib.contextmanager
    def _as_engine_errors(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            raise EngineError(self.culprit, f"the {noun(self.culprit)} is damaged: {error.strerror}") from error

    def normalized(self, frame: VideoFrame) -> VideoFrame:
        """Return a decoded frame in `format`, not mirrored, with its orientation attached."""
        context = self.video.codec_context
        keep_matrix(frame)
        if frame.format.name != self.format or (frame.width, frame.height) != (context.width, context.height):
            matrix = self.coding.matrix if frame.colorspace == RGB else None
            frame = frame.reformat(context.width, context.height, self.format, dst_colorspace=matrix)
        if orientation_of(frame).mirrored:
            mirror(frame)
        return frame


@contextlib.contextmanager
def open_clip(path: Path, culprit: str, threads: int | None = None) -> Iterator[Clip]:
    """Open a clip. Raises EngineError(culprit, …) when it cannot be opened or has no video."""
    with open_media(path, culprit) as container:
        if not container.streams.video:
            raise EngineError(culprit, f"the {noun(culprit)} has no picture, only sound")
        best = container.streams.best("video")  # prefers a film to a cover picture
        video = best if isinstance(best, VideoStream) else container.streams.video[0]
        if not is_known(video):
            raise EngineError(culprit, f"the {noun(culprit)} uses an unsupported codec: convert it to H.264")
        video.codec_context.thread_type = "AUTO"
        video.codec_context.thread_count = threads or 0
        yield Clip(container, video, culprit, path)


@contextlib.contextmanager
def open_media(path: Path, culprit: str) -> Iterator[InputContainer]:
    try:
        container = av.open(f"file:{path.absolute()}", "r", options=OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise EngineError(culprit, f"the {noun(culprit)} is not a readable media file") from error
    with container:
        yield container


def is_known(stream: VideoStream | AudioStream) -> bool:
    """Return whether FFmpeg has a decoder for the stream."""
    context: CodecContext | None = stream.codec_context
    return context is not None


def planes_of(frame: VideoFrame) -> Planes:
    """Return views of the frame's own memory."""
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        views.append(rows[: plane.height, : plane.width])
    return Planes(*views)


def mirror(frame: VideoFrame) -> None:
    """Mirror a frame from left to right, in place."""
    frame.make_writable()  # the decoder still uses its own copy
    planes = planes_of(frame)
    for plane in (planes.luma, planes.blue, planes.red):
        plane[:] = plane[:, ::-1].copy()


def rgb_of(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return (h, w, 3) RGB, scaled down to the finder's maximum."""
    scale = min(1.0, LONGEST / max(frame.width, frame.height))
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    return np.asarray(frame.reformat(*size, "rgb24", interpolation="BILINEAR").to_ndarray(), np.uint8)
