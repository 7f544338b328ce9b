"""The first pass: looks at every frame, keeps what it saw in a store, and learns who is in the clip."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats
from batchswap.local.engine.media import reader
from batchswap.local.engine.media.colour_planes import look
from batchswap.local.engine.media.orientation import orientation_of
from batchswap.local.engine.media.stages import ahead
from batchswap.local.engine.tracking import upright
from batchswap.local.engine.tracking.close_search import Scout
from batchswap.local.engine.tracking.finder import Finder
from batchswap.local.engine.tracking.frame_store import FrameStore
from batchswap.local.engine.tracking.tracks import Follower, Sighting, describe


@dataclass(frozen=True)
class Watched:
    """Who is in a clip. `turns`: the quarter turns that bring it upright beyond those that the file names."""

    follower: Follower
    turns: int
    is_sure: bool


def watch(path: Path, culprit: str, store: FrameStore, threads: int | None) -> Watched:
    """Find every face in every frame. The store's points are pixels of the frame as it is coded, not turned.

    A clip in which no face is found, or none that stays in its place, may be upside down: it is watched again, turned,
    when that shows more.
    """
    watched = watch_turned(path, culprit, store, threads, 0)
    if not watched.is_sure and (turns := find_turns(path, culprit, watched.follower.frames, threads)):
        return watch_turned(path, culprit, store, threads, turns)
    return watched


def find_turns(path: Path, culprit: str, count: int, threads: int | None) -> int:
    """Return the quarter turns by which a clip of `count` frames shows faces best."""
    wanted = {int(number) for number in np.linspace(0, count - 1, min(count, upright.SAMPLES))}
    with reader.open_clip(path, culprit, threads) as clip:
        pictures = (picture for number, (_, _, picture) in enumerate(decoded(clip, 0)) if number in wanted)
        return upright.find_way(pictures)


def watch_turned(path: Path, culprit: str, store: FrameStore, threads: int | None, turns: int) -> Watched:
    """Watch a clip turned by so many quarters more than it says.

    Three threads: one decodes, one runs the finder that takes most of the time, this one does the rest.
    """
    follower = Follower()
    with (
        Finder.for_video() as finder,
        Finder.for_stills() as closer,
        reader.open_clip(path, culprit, threads) as clip,
        ahead(decoded(clip, turns)) as frames,
        ahead(found(finder, frames)) as views,
    ):
        scout, check = Scout(closer), upright.Check(closer)
        for view in views:
            cut = scout.is_cut(view.upright)
            faces = scout.add(view.upright, view.faces, cut=cut)
            check.see(view.upright, faces)
            faces = geometry.turned(faces, view.turns, view.size) * view.scale
            follower.see(sightings(view.frame, faces, store, follower.frames), cut=cut)
    return Watched(follower, turns, check.is_passed)


@dataclass(frozen=True)
class FrameView:
    """A frame, and what the finder sees of it: `upright` (h, w, 3) after `turns`, with the `faces` (n, 478, 3)."""

    frame: VideoFrame
    turns: int
    upright: ByteArray
    faces: Floats

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture before it is turned."""
        high, wide = self.upright.shape[:2]
        return (high, wide) if self.turns % 2 else (wide, high)

    @property
    def scale(self) -> Floats:
        """From its pixels to those of the frame, for x, y, z."""
        across, down = self.frame.width / self.size[0], self.frame.height / self.size[1]
        return np.array([across, down, across], np.float32)


def decoded(clip: reader.Clip, more: int) -> Iterator[tuple[VideoFrame, int, ByteArray]]:
    """Frames, with the turns that bring them upright, `more` than they say, and upright."""
    for frame in clip.frames():
        turns = (orientation_of(frame).turns + more) % 4
        yield frame, turns, np.ascontiguousarray(np.rot90(reader.rgb_of(frame), turns))


def found(finder: Finder, frames: Iterable[tuple[VideoFrame, int, ByteArray]]) -> Iterator[FrameView]:
    for frame, turns, picture in frames:
        yield FrameView(frame, turns, picture, finder.find(picture))


def sightings(frame: VideoFrame, faces: Floats, store: FrameStore, number: int) -> list[Sighting]:
    """Keep the faces (n, 478, 3) of a frame."""
    planes = reader.planes_of(frame)
    seen = []
    for points in faces:
        colours = look(planes, points)
        record = store.append(points, colours)
        seen.append(Sighting(number, record, geometry.box(points), describe(colours)))
    return seen
