"""The first pass: looks at every frame, keeps what it saw in a store, and learns who is in the clip."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from batchswap.local.engine import geometry, reading
from batchswap.local.engine.finder import Finder
from batchswap.local.engine.geometry import Bytes, Floats
from batchswap.local.engine.orientation import orientation_of
from batchswap.local.engine.samples import look
from batchswap.local.engine.scouting import Scout
from batchswap.local.engine.stages import ahead
from batchswap.local.engine.store import Store
from batchswap.local.engine.tracks import Follower, Sighting, describe


def watch(path: Path, culprit: str, store: Store, threads: int | None) -> Follower:
    """Find every face in every frame. The store's points are pixels of the frame as it is coded, not turned.

    Three threads: one decodes, one runs the finder that takes most of the time, this one does the rest.
    """
    follower = Follower()
    with (
        Finder.for_video() as finder,
        Finder.for_stills() as closer,
        reading.open_clip(path, culprit, threads) as clip,
        ahead(decoded(clip)) as frames,
        ahead(found(finder, frames)) as views,
    ):
        scout = Scout(closer)
        for view in views:
            cut = scout.is_cut(view.upright)
            faces = scout.add(view.upright, view.faces, cut=cut)
            faces = geometry.turned(faces, view.turns, view.size) * view.scale
            follower.see(sightings(view.frame, faces, store, follower.frames), cut=cut)
    return follower


@dataclass(frozen=True)
class View:
    """A frame, and what the finder sees of it: `upright` (h, w, 3) after `turns`, with the `faces` (n, 478, 3)."""

    frame: VideoFrame
    turns: int
    upright: Bytes
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


def decoded(clip: reading.Clip) -> Iterator[tuple[VideoFrame, int, Bytes]]:
    """Frames, with the turns that bring them upright, and upright."""
    for frame in clip.frames():
        turns = orientation_of(frame).turns
        yield frame, turns, np.ascontiguousarray(np.rot90(reading.rgb_of(frame), turns))


def found(finder: Finder, frames: Iterable[tuple[VideoFrame, int, Bytes]]) -> Iterator[View]:
    for frame, turns, upright in frames:
        yield View(frame, turns, upright, finder.find(upright))


def sightings(frame: VideoFrame, faces: Floats, store: Store, number: int) -> list[Sighting]:
    """Keep the faces (n, 478, 3) of a frame."""
    planes = reading.planes_of(frame)
    seen = []
    for points in faces:
        colours = look(planes, points)
        record = store.append(points, colours)
        seen.append(Sighting(number, record, geometry.box(points), describe(colours)))
    return seen
