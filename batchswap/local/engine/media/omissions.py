"""Remarks on the tracks of a clip that its result lacks."""

from collections import Counter

from av.container import InputContainer
from av.stream import Disposition

from batchswap.local.engine.media import subtitles
from batchswap.local.engine.media.reader import Clip

TIMECODE = "timecode"


def notes(clip: Clip) -> list[str]:
    """Return remarks on the tracks that are left out."""
    mute = len(clip.container.streams.audio) - len(clip.audio)
    found = ["a sound track cannot be read and is left out"] if mute else []
    left = others(clip)
    listed = ", ".join(f"{count} {name if count == 1 else f'{name}s'}" for name, count in left.items())
    return [*found, f"left out: {listed}"] if listed else found


def others(clip: Clip) -> Counter[str]:
    """Count the tracks that are left out, by kind."""
    container = clip.container
    left: Counter[str] = Counter()
    for video in container.streams.video:
        if video is not clip.video:
            is_cover = bool(video.disposition & Disposition.attached_pic)
            left["cover picture" if is_cover else "other video track"] += 1
    left["image-based subtitle track"] = len(container.streams.subtitles) - len(subtitles.readable(container))
    left["data track"] = len(container.streams.data) - hidden(container)
    left["attachment"] = len(container.streams.attachments)
    return +left


def hidden(container: InputContainer) -> int:
    """Count the data tracks of chapters and timecode, which the result gets in another form."""
    has_timecode = any(TIMECODE in stream.metadata for stream in container.streams.data)
    in_boxes = "mp4" in container.format.name.split(",")
    return min(len(container.streams.data), has_timecode + (in_boxes and bool(container.chapters())))
