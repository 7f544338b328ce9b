"""A person through the clip, frame by frame: the points steadied, short gaps bridged, nothing carried over a cut."""

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.tracking import occlusion, smoothing
from batchswap.local.engine.tracking.frame_store import FrameStore
from batchswap.local.engine.tracking.tracks import FaceTrack

SOME = 100
"""Sightings that say what a face usually looks like."""
BRIDGE = 5
"""Frames: for so long a face that the finder lost is taken to have moved on evenly."""
LEAP = (0.6, 0.12, 0.15)
"""From one frame to the next, in widths of the face, in log size and in radians: what moves farther was cut, also where
the pictures are too alike to show it, as when the same person is seen a little nearer in the next shot."""


@dataclass(frozen=True)
class Pose:
    """A face in one frame: its points (478, 3), its colours (468, 3), and how far each can be seen (468,), 0 to 1."""

    points: Floats
    colours: Floats
    visible: Floats


class Person:
    """Asked for one frame after another, in order."""

    def __init__(self, tracks: Sequence[FaceTrack], store: FrameStore, cuts: Sequence[int] = ()) -> None:
        """`cuts`: the frames that begin a shot, in order."""
        self._store, self._cuts = store, cuts
        self._frames = np.concatenate([np.asarray(track.frames) for track in tracks])
        self._records = np.concatenate([np.asarray(track.records) for track in tracks])
        some = self._records[:: max(1, len(self._records) // SOME)]
        self._runs = functools.lru_cache(4 * smoothing.REACH)(self._compare)  # asked of each place by all around it
        self._usual = np.median([store.read(int(record))[1] for record in some], axis=0)

    def at(self, frame: int) -> Pose | None:
        """None when the face is not seen in that frame."""
        place = int(np.searchsorted(self._frames, frame))
        if place < len(self._frames) and self._frames[place] == frame:
            return self._steadied(place)
        if not 0 < place < len(self._frames):
            return None
        before, after = int(self._frames[place - 1]), int(self._frames[place])
        if after - before > BRIDGE + 1 or self._is_cut(before, after):
            return None
        return self._between(place, (frame - before) / (after - before))

    def _between(self, place: int, part: float) -> Pose | None:
        one, two = self._steadied(place - 1), self._steadied(place)
        apart = np.linalg.norm(one.points.mean(0)[:2] - two.points.mean(0)[:2])
        if apart > geometry.width(one.points):
            return None  # somewhere else altogether
        pairs = ((one.points, two.points), (one.colours, two.colours), (one.visible, two.visible))
        return Pose(*(before * (1 - part) + after * part for before, after in pairs))

    def _steadied(self, place: int) -> Pose:
        reach = 0
        while reach < smoothing.REACH and self._runs(place - reach - 1) and self._runs(place + reach):
            reach += 1
        seen = [self._store.read(int(record)) for record in self._records[place - reach : place + reach + 1]]
        points, colours = (np.stack(values) for values in zip(*seen, strict=True))
        seen_of_it = occlusion.visible(colours[reach], self._usual)
        return Pose(smoothing.smooth(points), smoothing.steady(colours), seen_of_it)

    def _compare(self, place: int) -> bool:
        """Whether the sighting at `place` is followed by one in the next frame, of the same shot."""
        if not 0 <= place < len(self._frames) - 1:
            return False
        before, after = int(self._frames[place]), int(self._frames[place + 1])
        if after != before + 1 or self._is_cut(before, after):
            return False
        one, two = (self._store.read(int(record))[0] for record in self._records[place : place + 2])
        return not leaps(one, two)

    def _is_cut(self, before: int, after: int) -> bool:
        """Whether a shot begins after `before`, at `after` at the latest."""
        return bisect.bisect_right(self._cuts, before) < bisect.bisect_right(self._cuts, after)


def leaps(one: Floats, two: Floats) -> bool:
    """Whether a face (n, 3) moves farther from one frame to the next than a head does."""
    flat, flatter = (points[:, 0].astype(np.float64) + 1j * points[:, 1] for points in (one, two))
    away = abs(flatter.mean() - flat.mean()) / geometry.width(one)
    growth = abs(np.log(geometry.width(two) / geometry.width(one)))
    turn = abs(np.angle(np.vdot(flat - flat.mean(), flatter - flatter.mean())))
    return bool(np.any(np.array([away, growth, turn]) > LEAP))
