"""Sound tracks of the result: copied if MP4 supports their format, otherwise converted to AAC."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from batchswap.local.engine.media import reader

CARRIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
"""Formats that MP4 supports and players expect there. Any other becomes AAC."""
AAC_RATES = frozenset({96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000})
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Layouts by the number of channels, since a file may not name one. Any other number is mixed down to stereo."""
OF_A_TRACK = frozenset({"language", "title", "handler_name"})
"""Metadata by which players choose a track."""


@dataclass(frozen=True, order=True)
class SampleFormat:
    """Samples per second, and channels."""

    rate: int
    channels: int


SampleFormats = dict[int, set[SampleFormat]]
"""All formats of each track, by its number. A track that changes midway has more than one."""


def formats(path: Path, culprit: str) -> SampleFormats:
    """Decode the sound of a clip to find its formats. The file itself names only the first format of a track."""
    with reader.open_clip(path, culprit, 1) as clip:
        found: SampleFormats = {track.index: set() for track in clip.audio}
        for packet in clip.sound():
            for frame in decoded(packet):
                found[packet.stream.index].add(SampleFormat(frame.sample_rate, frame.layout.nb_channels))
    return found


def decoded(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    """Decode a packet. A damaged one gives nothing, as in players."""
    with contextlib.suppress(av.error.InvalidDataError):
        return packet.decode()
    return []


@dataclass
class Recoder:
    """Converts decoded sound of any format to the format of an encoder."""

    encoder: AudioCodecContext
    next: int = 0
    """Time stamp after the last sample, in samples."""
    _resampler: AudioResampler | None = None
    _given: tuple[int, str, str] | None = None

    def convert(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        given = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._resampler is None or given != self._given:
            yield from self.rest()
            encoder = self.encoder
            self._resampler = AudioResampler(encoder.format.name, encoder.layout.name, encoder.sample_rate)
            self._given = given
        yield from map(self._stamped, self._resampler.resample(frame))

    def rest(self) -> Iterator[AudioFrame]:
        """Yield the sound that the resampler still holds."""
        if self._resampler is not None:
            yield from map(self._stamped, self._resampler.resample(None))

    def _stamped(self, frame: AudioFrame) -> AudioFrame:
        """Set the time stamp in the encoder's unit, not before the end of the last frame."""
        rate = self.encoder.sample_rate
        time = self.next if frame.pts is None or not frame.time_base else round(frame.pts * frame.time_base * rate)
        frame.pts, frame.time_base = max(time, self.next), Fraction(1, rate)
        self.next = frame.pts + frame.samples
        return frame


@dataclass
class SoundTrack:
    """One sound track of the result. `recoder` is None if the track is copied."""

    source: AudioStream
    target: AudioStream
    recoder: Recoder | None
    notes: list[str] = field(default_factory=list)
    last: int | None = None
    """Time stamp of a copied track's last packet, in the source's unit."""

    def put(self, container: OutputContainer, packet: "Packet[AudioStream]", start: Fraction) -> None:
        """Write a packet. `start`: time in the input that is zero in the result."""
        if self.recoder is None:
            shift = round(start / packet.time_base) if packet.time_base else 0
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            self._put_in_order(packet)
            packet.stream = self.target
            container.mux_one(packet)
            return
        for frame in decoded(packet):
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(start / frame.time_base)
            self._encode(container, self.recoder.convert(frame))

    def finish(self, container: OutputContainer) -> None:
        """Write the sound that the encoder still holds."""
        if self.recoder is not None:
            self._encode(container, self.recoder.rest())
            container.mux(self.target.encode(None))

    def _encode(self, container: OutputContainer, frames: Iterator[AudioFrame]) -> None:
        for frame in frames:
            container.mux(self.target.encode(frame))

    def _put_in_order(self, packet: "Packet[AudioStream]") -> None:
        """Move a packet at least a sample behind the last one. Joined recordings overlap; MP4 needs rising stamps."""
        if packet.dts is None or not packet.time_base:
            return
        if self.last is not None:
            sample = math.ceil(1 / (packet.time_base * (self.source.codec_context.sample_rate or 1)))
            packet.dts = max(packet.dts, self.last + sample)
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self.last = packet.dts


def add_track(container: OutputContainer, source: AudioStream, found: set[SampleFormat]) -> SoundTrack:
    """Add a track to the result. `found`: its formats."""
    context = source.codec_context
    changes = len(found) > 1
    if context.codec.canonical_name in CARRIED and not changes:  # a decoder's own name may differ: mp3float
        target, recoder = container.add_stream_from_template(source), None
    else:
        best = best_of(found or {SampleFormat(context.sample_rate, context.layout.nb_channels)})
        target = container.add_stream("aac", rate=best.rate, layout=LAYOUTS[best.channels])
        recoder = Recoder(target.codec_context)
    target.metadata.update({key: value for key, value in source.metadata.items() if key in OF_A_TRACK})
    target.disposition = source.disposition
    track = SoundTrack(source, target, recoder)
    if changes:
        track.notes.append(f"a sound track changes its format midway and was converted to {describe(target)}")
    return track


def best_of(found: set[SampleFormat]) -> SampleFormat:
    """Return the AAC format that loses least."""
    rate, channels = max(each.rate for each in found), max(each.channels for each in found)
    return SampleFormat(rate if rate in AAC_RATES else 48_000, channels if channels in LAYOUTS else 2)


def describe(track: AudioStream) -> str:
    return f"AAC ({track.codec_context.sample_rate:,} Hz, {track.codec_context.layout.name})"
