"""Text subtitles of the result, as 3GPP Timed Text (TS 26.245), the only form that MP4 supports."""

import re
import struct
from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream

from batchswap.local.engine.media.sound import OF_A_TRACK

KEPT = frozenset({"mov_text", "subrip", "srt", "text", "webvtt", "ass", "ssa"})
ASS = ("ass", "ssa")
FIELDS = 8
"""Number of fields before the text of an ASS line."""
MARKS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
"""Markup for italics, colours and positions."""
LONGEST = 65_535
HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Alignment
Style: Default,Arial,16,&Hffffff,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""The style for the encoder, as ASS."""


def readable(container: InputContainer) -> tuple[SubtitleStream, ...]:
    """Return the text tracks, which the result can have too."""
    return tuple(stream for stream in container.streams.subtitles if coding(stream) in KEPT)


def coding(stream: SubtitleStream) -> str:
    context = stream.codec_context
    return context.name if context is not None else ""


@dataclass
class Captions:
    """One subtitle track of the result."""

    source: SubtitleStream
    target: SubtitleStream

    def put(self, container: OutputContainer, packet: "Packet[SubtitleStream]", start: Fraction) -> None:
        """Write a packet. `start`: time in the input that is zero in the result."""
        unit = packet.time_base
        if packet.pts is None or not unit:
            return
        data = bytes(packet) if coding(self.source) == "mov_text" else timed_text(bytes(packet), coding(self.source))
        shown = Packet(data)
        shown.time_base, shown.pts = unit, max(0, packet.pts - round(start / unit))
        shown.dts, shown.duration, shown.stream = shown.pts, packet.duration or 0, self.target
        container.mux_one(shown)

    def finish(self, container: OutputContainer) -> None:
        """Do nothing: every packet is already written."""


def add_captions(container: OutputContainer, source: SubtitleStream) -> Captions:
    target = container.add_stream("mov_text")
    target.codec_context.subtitle_header = HEADER
    if source.time_base:
        target.time_base = source.time_base
    target.metadata.update({key: value for key, value in source.metadata.items() if key in OF_A_TRACK})
    target.disposition = source.disposition
    return Captions(source, target)


def timed_text(data: bytes, coded: str) -> bytes:
    """Return a sample: the length of the text, and the text without markup."""
    text = data.decode("utf-8", "replace")
    if coded in ASS:
        text = text.split(",", FIELDS)[-1].replace(r"\N", "\n").replace(r"\n", "\n").replace(r"\h", " ")
    words = MARKS.sub("", text).strip("\r\n\0").encode()[:LONGEST].decode("utf-8", "ignore").encode()
    return struct.pack(">H", len(words)) + words
