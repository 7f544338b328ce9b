"""Read a few frames of a clip by seeking, or a still, upright and scaled down."""

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from batchswap.delivery.proof import moments
from batchswap.errors import EngineError
from batchswap.local.engine.facemesh.geometry import ByteArray
from batchswap.local.engine.media import probe, reader, stills
from batchswap.local.engine.media.orientation import keep_matrix, orientation_of
from batchswap.local.engine.rendering.new_face import shrink
from batchswap.local.engine.tracking.finder import LONGEST
from batchswap.tasks import MediaKind

SMALL = 200_000_000
"""Bytes. A smaller file without a stored duration is read to measure it."""
APART = 0.25
"""Seconds. Frames of target and result that are farther apart are not compared."""
GAP = 4.0
"""Seconds. In a file without an index, a moment farther ahead is reached by seeking."""
EARLY = 0.5
"""Seconds. Without an index, seeking goes to this long before the moment."""
MOST_DECODED = 3000
"""Frames that are decoded of one file. Only a clip with very few keyframes needs more."""
FAULTS = (av.error.FFmpegError, OSError, ValueError, EOFError)


@dataclass(frozen=True)
class Pair:
    """The same moment in target and result: RGB pictures (h, w, 3). `target` is None if it cannot be had."""

    time: float
    target: ByteArray | None
    result: ByteArray
    left: float = 0.0
    """Seconds from here to the end of the clip."""


class FrameSource:
    """Gives the frames of a clip at rising moments. Between them, it seeks only if that skips frames."""

    def __init__(self, clip: reader.Clip) -> None:
        self._clip = clip
        video = clip.video
        self._unit = float(video.time_base or 1 / 1000)
        self._step = 1 / float(video.average_rate or video.guessed_rate or 25)
        self._start = (video.start_time or 0) * self._unit
        self._stamps = sorted(entry.timestamp for entry in video.index_entries if entry.is_keyframe)
        self._packets = self._decode()
        self._near: tuple[tuple[float, VideoFrame], ...] = ()
        self._wanted = 0.0
        self._decoded = 0

    @property
    def pixels(self) -> int:
        return self._clip.video.codec_context.width * self._clip.video.codec_context.height

    @property
    def seconds(self) -> float:
        """The duration as the file stores it, without reading the whole file if that is large; 0 if unknown."""
        container = self._clip.container
        stored = probe.stored_duration(self._clip) or max(0.0, (container.duration or 0) / av.time_base - self._start)
        if not stored and self._clip.path.stat().st_size < SMALL:
            with reader.open_clip(self._clip.path, self._clip.culprit, 1) as clip:
                return clip.measure()
        return stored

    @property
    def keys(self) -> tuple[float, ...]:
        """The times of the keyframes after the first one; empty without an index."""
        return tuple((stamp - self._stamps[0]) * self._unit for stamp in self._stamps)

    def at(self, moment: float) -> tuple[float, ByteArray] | None:
        """Return the time and picture of the frame nearest to a moment, which is not before the last one.

        None: nothing can be decoded.
        """
        self._wanted = moment
        now = self._near[-1][0] if self._near else 0.0
        if moment > now:
            self._seek(now, moment)
        while not self._near or self._near[-1][0] < moment:
            found = next(self._packets, None)
            if found is None:
                break
            self._near = (*self._near[-1:], found)
        if not self._near:
            return None
        time, frame = min(self._near, key=lambda shown: abs(shown[0] - moment))
        return time, rgb(frame, float(self._clip.video.sample_aspect_ratio or 1))

    def _seek(self, now: float, moment: float) -> None:
        keys = self.keys
        place = bisect_right(keys, moment) - 1
        if len(keys) > 1:
            if place < 0 or keys[place] <= now + self._step:
                return
            stamp = round((keys[place] + self._start) / self._unit)  # when it is shown, not when it is decoded
        elif moment - now > GAP and not keys:
            stamp = round((moment - EARLY + self._start) / self._unit)
        else:
            return
        with contextlib.suppress(*FAULTS):  # a file that cannot be seeked is decoded up to the moment
            self._clip.container.seek(stamp, stream=self._clip.video)
            self._packets = self._decode()

    def _decode(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yield frames from here on, without those long before the wanted moment that no other frame needs."""
        context, video = self._clip.video.codec_context, self._clip.video
        time = -self._step
        with contextlib.suppress(*FAULTS):  # the frames before the damage count
            for packet in self._clip.container.demux(video):
                stamp = packet.pts
                early = stamp is not None and stamp * self._unit - self._start < self._wanted - 2.5 * self._step
                context.skip_frame = "NONREF" if early else "DEFAULT"
                for frame in packet.decode():
                    self._decoded += 1
                    if self._decoded > MOST_DECODED:
                        return
                    time = time + self._step if frame.pts is None else frame.pts * self._unit - self._start
                    yield time, frame


def read(result: Path, target: Path | None, kind: MediaKind) -> Iterator[Pair]:
    """Yield the moments of a result. Raises EngineError("result" or "target", …) when a file cannot be used."""
    return _read_clips(result, target) if kind == "video" else _read_stills(result, target)


def _read_stills(result: Path, target: Path | None) -> Iterator[Pair]:
    before = None if target is None else still(target, "target")
    yield Pair(0.0, before, still(result, "result"))


def still(path: Path, culprit: str) -> ByteArray:
    """Read a picture file, scaled down to what shows the finder all faces."""
    probe.check_file(path, culprit, None)
    return shrink(stills.read(path, culprit).rgb)


def _read_clips(result: Path, target: Path | None) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        after = stack.enter_context(opened(result, "result"))
        before = None if target is None else stack.enter_context(opened(target, "target"))
        clips = [after] if before is None else [after, before]
        seconds = min(clip.seconds for clip in clips)
        count = moments.count_for(max(clip.pixels for clip in clips))
        last = -1.0
        for moment in moments.choose(seconds, [clip.keys for clip in clips], count):
            shown = after.at(moment)
            if shown is None or shown[0] <= last:
                continue  # a clip with fewer frames than moments
            last = shown[0]
            other = None if before is None else before.at(shown[0])
            if before is None:
                yield Pair(shown[0], None, shown[1], seconds - shown[0])
            elif other is not None and abs(other[0] - shown[0]) < APART:
                yield Pair(shown[0], other[1], shown[1], seconds - shown[0])


@contextlib.contextmanager
def opened(path: Path, culprit: str) -> Iterator[FrameSource]:
    """Open a clip. Raises EngineError(culprit, …)."""
    probe.check_file(path, culprit, None)
    with reader.open_clip(path, culprit, 1) as clip:
        if clip.video.codec_context.width * clip.video.codec_context.height > probe.MOST_PIXELS:
            raise EngineError(culprit, f"the {culprit} has frames of more than {probe.MOST_PIXELS // 10**6} megapixels")
        yield FrameSource(clip)


def rgb(frame: VideoFrame, aspect: float) -> ByteArray:
    """Return a frame as it is displayed, scaled down to the finder's maximum. `aspect` is that of its pixels."""
    keep_matrix(frame)
    seen = orientation_of(frame)
    wide = frame.width * aspect
    scale = min(1.0, LONGEST / max(wide, frame.height))
    size = (max(1, round(wide * scale)), max(1, round(frame.height * scale)))
    pixels = np.asarray(frame.reformat(*size, "rgb24", interpolation="BILINEAR").to_ndarray(), np.uint8)
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if seen.mirrored else pixels, seen.turns))
