"""Writes the result: H.264 in MP4, with the time stamps, turn, colours and sound of the clip that it comes from."""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from batchswap.local.engine import boxes, label, packets
from batchswap.local.engine.orientation import Matrix
from batchswap.local.engine.reading import Clip, Item

ENCODER = {"preset": "veryfast", "crf": "17"}
CARRIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
"""Sound that MP4 carries and players expect there; anything else becomes AAC."""


AAC_RATES = frozenset({96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000})
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Channels -> how they are laid out; a file need not say. Anything else is mixed down."""


OF_A_TRACK = frozenset({"language", "title", "handler_name"})
"""What players choose a sound track by."""
OF_THE_CONTAINER = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, renamed when all went well and removed when not."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@dataclass
class Track:
    """One sound track on its way into the result."""

    source: AudioStream
    target: AudioStream
    copied: bool
    last: int | None = None
    """Of a copied track, the last packet's stamp in the source's unit."""

    def put_in_order(self, packet: "Packet[AudioStream]") -> None:
        """At least a sample after the last packet: MP4 takes no stamp twice, and recordings overlap where they meet."""
        if packet.dts is None or not packet.time_base:
            return
        if self.last is not None:
            sample = math.ceil(1 / (packet.time_base * (self.source.codec_context.sample_rate or 1)))
            packet.dts = max(packet.dts, self.last + sample)
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self.last = packet.dts


@dataclass
class Writer:
    """Takes frames and sound packets in the order of the input."""

    container: OutputContainer
    video: VideoStream
    tracks: dict[int, Track]
    start: Fraction = Fraction(0)
    """Seconds of the input that are zero in the result."""
    last: int | None = None

    def put(self, item: Item) -> None:
        if isinstance(item, VideoFrame):
            self._put_frame(item)
        else:
            self._put_sound(item, self.tracks[item.stream.index])

    def _put_frame(self, frame: VideoFrame) -> None:
        frame.pict_type = PictureType.NONE  # the encoder chooses its own key frames
        unit = frame.time_base or Fraction(1, 1000)
        if frame.pts is not None:
            frame.pts -= round(self.start / unit)
        # Old containers leave stamps out, broken ones repeat them; MP4 can do neither.
        least = 0 if self.last is None else self.last + 1
        frame.pts = least if frame.pts is None or (self.last is not None and frame.pts < least) else frame.pts
        self.last = frame.pts
        self.container.mux(self.video.encode(frame))

    def _put_sound(self, packet: "Packet[AudioStream]", track: Track) -> None:
        if track.copied:
            shift = round(self.start / packet.time_base) if packet.time_base else 0
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            track.put_in_order(packet)
            packet.stream = track.target
            self.container.mux_one(packet)
            return
        for frame in packet.decode():
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self.start / frame.time_base)
            self.container.mux(track.target.encode(frame))

    def finish(self) -> None:
        """What the encoders still hold."""
        self.container.mux(self.video.encode(None))
        for track in self.tracks.values():
            if not track.copied:
                self.container.mux(track.target.encode(None))


@contextlib.contextmanager
def open_writer(path: Path, clip: Clip, matrix: Matrix | None, task: str, threads: int | None) -> Iterator[Writer]:
    """A writer for a file that has no reader yet; complete when this is left without an error."""
    packet = boxes.find_xmp(clip.path) if "mp4" in clip.container.format.name.split(",") else b""
    options = {"movflags": "+faststart+use_metadata_tags"}
    with av.open(str(path), "w", format="mp4", container_options=options) as container:
        container.metadata.update(metadata(clip.container.metadata, task))
        video = add_video(container, clip, threads)
        if matrix:
            video.set_display_matrix(list(matrix))
        tracks = {source.index: add_track(container, source) for source in clip.audio}
        writer = Writer(container, video, tracks, clip.start)
        yield writer
        writer.finish()
    with path.open("ab") as file:
        file.write(label.box(task, packets.carried(packet)))


def metadata(before: Mapping[str, str], task: str) -> dict[str, str]:
    """What the clip said of itself, its labels above all, and that it is synthetic now."""
    kept = {key: value for key, value in before.items() if key not in OF_THE_CONTAINER}
    for key in ("comment", "description"):
        kept[key] = " ".join(filter(None, [label.sentence(task), kept.get(key)]))
    return {**kept, "digital_source_type": label.SOURCE_TYPE}


def add_video(container: OutputContainer, clip: Clip, threads: int | None) -> VideoStream:
    source, context = clip.video, clip.video.codec_context
    video = container.add_stream("libx264", rate=source.average_rate or source.guessed_rate or 25, options=ENCODER)
    if source.time_base:
        video.time_base = video.codec_context.time_base = source.time_base
    target = video.codec_context
    target.width, target.height, target.pix_fmt = context.width, context.height, clip.format
    target.thread_count = threads or 0
    target.color_range, target.color_primaries = context.color_range, context.color_primaries
    target.color_trc = context.color_trc
    target.colorspace = clip.coding.matrix if context.colorspace == 0 else context.colorspace
    if source.sample_aspect_ratio:
        target.sample_aspect_ratio = source.sample_aspect_ratio
    return video


def add_track(container: OutputContainer, source: AudioStream) -> Track:
    context = source.codec_context
    copied = context.codec.canonical_name in CARRIED  # a decoder has a name of its own: mp3float
    if copied:
        target = container.add_stream_from_template(source)
    else:
        rate = context.sample_rate if context.sample_rate in AAC_RATES else 48_000
        target = container.add_stream("aac", rate=rate, layout=LAYOUTS.get(context.layout.nb_channels, "stereo"))
    target.metadata.update({key: value for key, value in source.metadata.items() if key in OF_A_TRACK})
    target.disposition = source.disposition
    return Track(source, target, copied)
