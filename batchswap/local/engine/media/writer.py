"""Write the result: H.264 in MP4, with the time stamps, orientation, colours and sound of the source clip."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from batchswap.local.engine.media.orientation import matrix_to_write
from batchswap.local.engine.media.reader import Clip, FrameOrPacket
from batchswap.local.engine.media.sound import SampleFormats, SoundTrack, add_track
from batchswap.local.engine.media.subtitles import Captions, add_captions, readable
from batchswap.local.engine.metadata import label, xmp

if TYPE_CHECKING:
    from av.container.core import Chapter

ENCODER = {"preset": "veryfast", "crf": "17"}
OF_THE_PICTURE = frozenset({"language", "title", "timecode"})
XMP = "xmp"
"""FFmpeg's name for the XMP packet of an MP4 or QuickTime file."""
OF_THE_CONTAINER = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", XMP})


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`. Rename it on success, remove it on failure."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@dataclass
class VideoWriter:
    """Writes frames and packets in the order of the input."""

    container: OutputContainer
    video: VideoStream
    tracks: dict[int, SoundTrack | Captions]
    remarks: list[str]
    start: Fraction = Fraction(0)
    """Time in the input that is zero in the result."""
    last: int | None = None

    @property
    def notes(self) -> list[str]:
        """Remarks on the tracks."""
        sounds = (track for track in self.tracks.values() if isinstance(track, SoundTrack))
        return [*self.remarks, *(note for track in sounds for note in track.notes)]

    def put(self, item: FrameOrPacket) -> None:
        if isinstance(item, VideoFrame):
            self._put_frame(item)
        else:
            self.tracks[item.stream.index].put(self.container, item, self.start)

    def _put_frame(self, frame: VideoFrame) -> None:
        frame.pict_type = PictureType.NONE  # the encoder chooses its own key frames
        unit = frame.time_base or Fraction(1, 1000)
        if frame.pts is not None:
            frame.pts -= round(self.start / unit)
        # MP4 needs rising time stamps. Old containers omit some, and broken ones repeat some.
        least = 0 if self.last is None else self.last + 1
        frame.pts = least if frame.pts is None or (self.last is not None and frame.pts < least) else frame.pts
        self.last = frame.pts
        self.container.mux(self.video.encode(frame))

    def finish(self) -> None:
        """Write the frames and sound that the encoders still hold."""
        self.container.mux(self.video.encode(None))
        for track in self.tracks.values():
            track.finish(self.container)


@contextlib.contextmanager
def open_writer(
    path: Path, clip: Clip, first: VideoFrame | None, sounds: SampleFormats, task: str | None, threads: int | None
) -> Iterator[VideoWriter]:
    """Yield a writer. The file is complete after the context has been left without an error.

    `task` goes into the label; None: keep the metadata as it is, without another label.
    """
    options = {"movflags": "+faststart+use_metadata_tags"}
    with av.open(str(path), "w", format="mp4", container_options=options) as container:
        container.metadata.update(metadata(clip.container.metadata, task))
        container.set_chapters(chapters(clip))
        fields = Interlacing.of(first)
        video = add_video(container, clip, fields, threads)
        matrix = None if first is None else matrix_to_write(first)
        if matrix:
            video.set_display_matrix(list(matrix))
        tracks = {source.index: add_track(container, source, sounds[source.index]) for source in clip.audio}
        captions = {source.index: add_captions(container, source) for source in readable(clip.container)}
        writer = VideoWriter(container, video, {**tracks, **captions}, fields.notes, clip.start)
        yield writer
        writer.finish()
    packet = clip.container.metadata.get(XMP, "").encode()
    with path.open("ab") as file:
        if task is not None:
            file.write(label.box(task, xmp.carried(packet)))
        elif packet:
            file.write(label.in_box(packet))


def metadata(before: Mapping[str, str], task: str | None) -> dict[str, str]:
    """Return the clip's own metadata, with labels and the mark that it is synthetic, unless `task` is None."""
    kept = {key: value for key, value in before.items() if key not in OF_THE_CONTAINER}
    if task is None:
        return kept
    for key in ("comment", "description"):
        kept[key] = " ".join(filter(None, [label.sentence(task), kept.get(key)]))
    return {**kept, "digital_source_type": label.SOURCE_TYPE}


def chapters(clip: Clip) -> "list[Chapter]":
    """Return the clip's chapters with times of the result."""
    moved = clip.container.chapters()
    for chapter in moved:
        shift = round(clip.start / (chapter["time_base"] or 1))
        chapter["start"], chapter["end"] = (max(0, chapter[edge] - shift) for edge in ("start", "end"))
    return moved


@dataclass(frozen=True)
class Interlacing:
    """Interlaced video: each frame consists of two fields, which players show one after the other."""

    flags: int = 0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, first: VideoFrame | None) -> Self:
        if first is None or not first.interlaced_frame:
            return cls()
        if first.height % 4:  # x264 needs a multiple of 4 for fields
            return cls(notes=["the video is interlaced, but the result is not marked as interlaced"])
        return cls(int(Flags.interlaced_dct | Flags.interlaced_me))


def add_video(container: OutputContainer, clip: Clip, fields: Interlacing, threads: int | None) -> VideoStream:
    source, context = clip.video, clip.video.codec_context
    video = container.add_stream("libx264", rate=source.average_rate or source.guessed_rate or 25, options=ENCODER)
    if source.time_base:
        video.time_base = video.codec_context.time_base = source.time_base
    target = video.codec_context
    target.width, target.height, target.pix_fmt = context.width, context.height, clip.format
    target.thread_count = threads or 0
    target.flags |= fields.flags
    video.metadata.update({key: value for key, value in source.metadata.items() if key in OF_THE_PICTURE})
    target.color_range, target.color_primaries = context.color_range, context.color_primaries
    target.color_trc = context.color_trc
    target.colorspace = clip.coding.matrix if context.colorspace == 0 else context.colorspace
    if source.sample_aspect_ratio:
        target.sample_aspect_ratio = source.sample_aspect_ratio
    return video
