"""Read single frames of a clip by seeking, so that a long clip is not decoded as a whole."""

import bisect
import contextlib
from collections.abc import Iterable, Iterator

import av
from av.video.frame import VideoFrame

from batchswap.local.engine.media.reader import Clip

MOST_DECODED = 600
"""Frames to decode for one sample: some clips have a single key frame, at their start."""
NEAR = 2.0
"""Seconds. A frame this soon after the last one is decoded without seeking if the place of key frames is unknown."""


class Sampler:
    """Reads frames near given times, in seconds from the start of the picture. Ascending times are fastest."""

    def __init__(self, clip: Clip) -> None:
        self._clip, self._unit = clip, clip.video.time_base
        self._start = clip.video.start_time or 0
        self._frames: Iterator[VideoFrame] = iter(())
        self._at: float | None = None
        """Time of the last decoded frame."""
        self._known, self._keys = 0, list[int]()
        name = clip.container.format.name
        self._is_indexed, self._has_cues = "mp4" in name or name == "avi", "matroska" in name

    def read(self, times: Iterable[float], slack: float) -> Iterator[tuple[float, VideoFrame]]:
        """Yield a frame for each time, each one once. It may be `slack` seconds early. Skip what is damaged."""
        last = None
        for time in times:
            frame = None
            with contextlib.suppress(av.error.FFmpegError):
                frame = self._near(time, slack)
            if frame is not None and self._at is not None and self._at != last:
                last = self._at
                yield last, self._clip.normalized(frame)

    def _near(self, time: float, slack: float) -> VideoFrame | None:
        if self._is_ahead(time):
            return self._decode(time - slack)
        self._clip.container.seek(self._stamp(time), backward=True, stream=self._clip.video)
        if (found := self._begin(time - slack)) is None:
            # Transport streams are sought without regard to key frames, and none came any more.
            self._clip.container.seek(min(0, self._clip.container.start_time or 0))
            found = self._begin(time - slack)
        return found

    def _begin(self, since: float) -> VideoFrame | None:
        self._at, self._frames = None, self._clip.container.decode(self._clip.video)
        return self._decode(since)

    def _decode(self, since: float) -> VideoFrame | None:
        """Return the first frame that is not before this time, or else the last one."""
        found = None
        for _ in range(MOST_DECODED):
            if (frame := next(self._frames, None)) is None:
                break
            if frame.is_corrupt or frame.pts is None:
                continue
            found, self._at = frame, self._seconds(frame.pts)
            if self._at >= since:
                break
        return found

    def _is_ahead(self, time: float) -> bool:
        """Return whether decoding on from the last frame is the shortest way to this time."""
        if self._at is None or self._at >= time:
            return False
        stamps, wanted = self._key_stamps(), self._stamp(time)
        if not stamps or not (self._is_indexed or (self._has_cues and stamps[-1] > wanted)):
            return time - self._at < NEAR
        last = bisect.bisect_right(stamps, wanted) - 1
        return self._seconds(stamps[max(0, last)]) <= self._at

    def _key_stamps(self) -> list[int]:
        """Return the known places of key frames. Some formats add to their index while they are read."""
        index = self._clip.video.index_entries
        if len(index) != self._known:
            self._known, self._keys = len(index), [entry.timestamp for entry in index if entry.is_keyframe]
        return self._keys

    def _stamp(self, time: float) -> int:
        return self._start + (round(time / self._unit) if self._unit else 0)

    def _seconds(self, stamp: int) -> float:
        return float((stamp - self._start) * (self._unit or 0))
