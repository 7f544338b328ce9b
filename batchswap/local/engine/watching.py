"""The first pass: looks at every frame, keeps what it saw in a store, and learns who is in the clip."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from batchswap.local.engine import geometry, reading
from batchswap.local.engine.finder import Finder
from batchswap.local.engine.geometry import Bytes, Floats
from batchswap.local.engine.samples import look
from batchswap.local.engine.scouting import Scout
from batchswap.local.engine.stages import ahead
from batchswap.local.engine.store import Store
from batchswap.local.engine.tracks import Follower, Sighting, describe


def watch(path: Path, culprit: str, store: Store, threads: int | None) -> Follower:
    """Find every face in every frame. The store's points are pixels of the frame as it is coded, not turned."""
    follower = Follower()
    with (
        Finder.for_video() as finder,
        Finder.for_stills() as closer,
        reading.open_clip(path, culprit, threads) as clip,
        ahead(prepared(clip)) as frames,
    ):
        scout = Scout(closer)
        for frame, picture in frames:
            turns = reading.quarter_turns(frame)
            upright = np.ascontiguousarray(np.rot90(picture, turns))
            faces = scout.add(upright, finder.find(upright))
            faces = geometry.turned(faces, turns, (picture.shape[1], picture.shape[0]))
            follower.see(sightings(frame, faces * scale(frame, picture), store, follower.frames))
    return follower


def prepared(clip: reading.Clip) -> Iterator[tuple[VideoFrame, Bytes]]:
    """Frames, each with the picture that the finder is to look at."""
    for frame in clip.frames():
        yield frame, reading.rgb_of(frame)


def scale(frame: VideoFrame, picture: Bytes) -> Floats:
    """From pixels of what the finder saw to those of the frame, for x, y, z."""
    across, down = frame.width / picture.shape[1], frame.height / picture.shape[0]
    return np.array([across, down, across], np.float32)


def sightings(frame: VideoFrame, faces: Floats, store: Store, number: int) -> list[Sighting]:
    """Keep the faces (n, 478, 3) of a frame."""
    planes = reading.planes_of(frame)
    found = []
    for points in faces:
        colours = look(planes, points)
        record = store.append(points, colours)
        found.append(Sighting(number, record, geometry.box(points), describe(colours)))
    return found
