"""Examine a file before a swap or a detection."""

import stat
from pathlib import Path

import av

from batchswap.errors import EngineError
from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.media import file_types, reader, stills
from batchswap.local.engine.media.orientation import orientation_of
from batchswap.local.engine.values import MediaInfo, noun

MOST_PIXELS = 50_000_000
"""Limit for a frame; 8K has 33 million."""
LATE = 0.1
"""Seconds. If a clock starts later than this, the stored duration is not trusted."""


def probe(path: Path, culprit: str, max_bytes: int | None = None) -> MediaInfo:
    """See batchswap.local.engine.probe."""
    check_file(path, culprit, max_bytes)
    start = file_types.read_start(path)
    if file_types.still_of(start) or (file_types.is_gif(start) and culprit != "video"):
        return probe_still(path, culprit)
    if name := file_types.foreign(start):
        raise stills.unreadable(culprit, name)
    if culprit == "face":
        raise stills.damaged(culprit, "")
    return probe_clip(path, culprit)


def looks_still(path: Path) -> bool:
    """Return whether a file starts like a still."""
    return bool(file_types.still_of(file_types.read_start(path)))


def check_file(path: Path, culprit: str, max_bytes: int | None) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise EngineError(culprit, f"the {noun(culprit)} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise EngineError(culprit, f"the {noun(culprit)} is not a plain file")
    if not found.st_size:
        raise EngineError(culprit, f"the {noun(culprit)} is empty")
    if max_bytes is not None and found.st_size > max_bytes:
        raise EngineError(culprit, f"the {noun(culprit)} is larger than the limit of {max_bytes / 1e6:g} MB")


def probe_still(path: Path, culprit: str) -> MediaInfo:
    if stills.is_cut_off(path.read_bytes()):
        raise EngineError(culprit, f"the {noun(culprit)} is cut off")
    height, width = stills.read(path, culprit).rgb.shape[:2]
    return MediaInfo("image", width, height, 0.0, 1, has_audio=False)


def probe_clip(path: Path, culprit: str) -> MediaInfo:
    with reader.open_clip(path, culprit) as clip:
        video, size = clip.video, path.stat().st_size
        if any(entry.pos + entry.size > size for entry in video.index_entries):
            raise EngineError(culprit, f"the {noun(culprit)} is cut off")
        if video.codec_context.width * video.codec_context.height > MOST_PIXELS:
            raise EngineError(culprit, f"the {noun(culprit)} has frames of more than {MOST_PIXELS // 10**6} megapixels")
        frame = next(clip.frames(), None)
        if frame is None:
            raise EngineError(culprit, f"the {noun(culprit)} has no frame")
        width, height = geometry.turned_size((frame.width, frame.height), orientation_of(frame).turns)
        seconds = stored_duration(clip) or measured_duration(path, culprit)
        return MediaInfo("video", width, height, seconds, video.frames or None, bool(clip.audio))


def stored_duration(clip: reader.Clip) -> float:
    """Return the duration that the file stores, or 0 if there is no reliable one.

    A transport stream stores none: FFmpeg compares its first and last time stamps, but its clock may have restarted
    in between. If the clock does not start at zero, most files store its end as the duration.
    """
    container, video = clip.container, clip.video
    if container.format.name in reader.CLOCKED or abs(clip.start) > LATE:
        return 0.0
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def measured_duration(path: Path, culprit: str) -> float:
    with reader.open_clip(path, culprit) as clip:
        return clip.measure()
