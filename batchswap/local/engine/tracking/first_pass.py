"""The first pass: find the faces of every frame, keep them in a store, and join them into people."""

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
    """The people in a clip. `turns`: quarter turns that bring it upright, in addition to those that the file names."""

    follower: Follower
    turns: int
    is_sure: bool


def watch(path: Path, culprit: str, store: FrameStore, threads: int | None) -> Watched:
    """Find every face in every frame. The store's points are pixels of the coded frame, before any turn.

    A clip without a face, or only with unsteady ones, may be upside down: find its faces again after turning it, if
    more of them are then visible.
    """
    watched = watch_turned(path, culprit, store, threads, 0)
    if not watched.is_sure and (turns := find_turns(path, culprit, watched.follower.frames, threads)):
        return watch_turned(path, culprit, store, threads, turns)
    return watched


def find_turns(path: Path, culprit: str, count: int, threads: int | None) -> int:
    """Return the quarter turns after which a clip of `count` frames shows faces best."""
    wanted = {int(number) for number in np.linspace(0, count - 1, min(count, upright.SAMPLES))}
    with reader.open_clip(path, culprit, threads) as clip:
        pictures = (picture for number, (_, _, picture) in enumerate(decoded(clip, 0)) if number in wanted)
        return upright.find_way(pictures)


def watch_turned(path: Path, culprit: str, store: FrameStore, threads: int | None, turns: int) -> Watched:
    """Find the faces of a clip after `turns` quarter turns in addition to those that the file names.

    Of three threads, one decodes, one runs the finder, which takes most of the time, and this one does the rest.
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
    """A frame as the finder gets it, `upright` (h, w, 3) after `turns`, and the found `faces` (n, 478, 3)."""

    frame: VideoFrame
    turns: int
    upright: ByteArray
    faces: Floats

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture before it is turned."""
        return geometry.turned_size(geometry.size_of(self.upright), self.turns)

    @property
    def scale(self) -> Floats:
        """Factors from pixels of the picture to pixels of the frame, for x, y and z."""
        across, down = self.frame.width / self.size[0], self.frame.height / self.size[1]
        return np.array([across, down, across], np.float32)


def decoded(clip: reader.Clip, more: int) -> Iterator[tuple[VideoFrame, int, ByteArray]]:
    """Yield frames, the turns that bring them upright (`more` than the file names), and the upright pictures."""
    for frame in clip.frames():
        turns = (orientation_of(frame).turns + more) % 4
        yield frame, turns, upright.turn(reader.rgb_of(frame), turns)


def found(finder: Finder, frames: Iterable[tuple[VideoFrame, int, ByteArray]]) -> Iterator[FrameView]:
    for frame, turns, picture in frames:
        yield FrameView(frame, turns, picture, finder.find(picture))


def sightings(frame: VideoFrame, faces: Floats, store: FrameStore, number: int) -> list[Sighting]:
    """Store the faces (n, 478, 3) of a frame."""
    planes = reader.planes_of(frame)
    seen = []
    for points in faces:
        colours = look(planes, points)
        record = store.append(points, colours)
        seen.append(Sighting(number, record, geometry.box(points), describe(colours)))
    return seen
