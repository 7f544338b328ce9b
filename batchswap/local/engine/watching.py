"""The first pass: looks at every frame, keeps what it saw in a store, and learns who is in the clip."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from batchswap.local.engine import geometry, reading
from batchswap.local.engine.finder import Finder
from batchswap.local.engine.samples import look
from batchswap.local.engine.stages import ahead
from batchswap.local.engine.store import Store
from batchswap.local.engine.tracks import Follower, Sighting, describe, without_doubles


def watch(path: Path, culprit: str, store: Store, threads: int | None) -> Follower:
    """Find every face in every frame. The store's points are pixels of the frame as it is coded, not turned."""
    follower = Follower()
    with (
        Finder.for_video() as finder,
        reading.open_clip(path, culprit, threads) as clip,
        ahead(prepared(clip)) as frames,
    ):
        for frame, picture in frames:
            follower.see(see(finder, frame, picture, store, follower.frames))
    return follower


def prepared(clip: reading.Clip) -> Iterator[tuple[VideoFrame, NDArray[np.uint8]]]:
    """Frames, each with the picture that the finder is to look at."""
    for frame in clip.frames():
        yield frame, reading.rgb_of(frame)


def see(finder: Finder, frame: VideoFrame, picture: NDArray[np.uint8], store: Store, number: int) -> list[Sighting]:
    turns = reading.quarter_turns(frame)
    size = (picture.shape[1], picture.shape[0])
    faces = geometry.turned(finder.find(np.rot90(picture, turns)), turns, size)
    scale = np.array([frame.width / size[0], frame.height / size[1], frame.width / size[0]], np.float32)
    planes = reading.planes_of(frame)
    sightings = []
    for points in without_doubles(faces * scale):
        colours = look(planes, points)
        record = store.append(points, colours)
        sightings.append(Sighting(number, record, geometry.box(points), describe(colours)))
    return sightings
