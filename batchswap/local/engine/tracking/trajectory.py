"""A person's pose in every frame of a clip: points smoothed and short gaps bridged, but never across a cut."""

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
"""Number of sightings for the usual colours of a face."""
BRIDGE = 5
"""Longest gap in frames for which a lost face is assumed to move evenly."""
LEAP = (0.6, 0.12, 0.15)
"""Largest movement between two frames: in face widths, in log size and in radians. A larger one is a cut, even between
similar pictures, such as two shots of the same person."""


@dataclass(frozen=True)
class Pose:
    """A face in one frame: its points (478, 3), their colours (468, 3) and their visibility (468,), 0 to 1."""

    points: Floats
    colours: Floats
    visible: Floats


class Person:
    """Returns poses for one frame after another, in order."""

    def __init__(self, tracks: Sequence[FaceTrack], store: FrameStore, cuts: Sequence[int] = ()) -> None:
        """`cuts`: the frames that start a shot, in order."""
        self._store, self._cuts = store, cuts
        self._frames = np.concatenate([np.asarray(track.frames) for track in tracks])
        self._records = np.concatenate([np.asarray(track.records) for track in tracks])
        some = self._records[:: max(1, len(self._records) // SOME)]
        self._runs = functools.lru_cache(4 * smoothing.REACH)(self._compare)  # all neighbouring places need it
        self._usual = np.median([store.read(int(record))[1] for record in some], axis=0)

    def at(self, frame: int) -> Pose | None:
        """Return the pose in a frame, or None if the face is not visible in it."""
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
            return None  # at a different place
        pairs = ((one.points, two.points), (one.colours, two.colours), (one.visible, two.visible))
        return Pose(*(before * (1 - part) + after * part for before, after in pairs))

    def _steadied(self, place: int) -> Pose:
        reach = 0
        while reach < smoothing.REACH and self._runs(place - reach - 1) and self._runs(place + reach):
            reach += 1
        seen = [self._store.read(int(record)) for record in self._records[place - reach : place + reach + 1]]
        points, colours = (np.stack(values) for values in zip(*seen, strict=True))
        visible = occlusion.visible(colours[reach], self._usual)
        return Pose(smoothing.smooth(points), smoothing.steady(colours), visible)

    def _compare(self, place: int) -> bool:
        """Return whether the sighting at `place` is followed by one in the next frame, in the same shot."""
        if not 0 <= place < len(self._frames) - 1:
            return False
        before, after = int(self._frames[place]), int(self._frames[place + 1])
        if after != before + 1 or self._is_cut(before, after):
            return False
        one, two = (self._store.read(int(record))[0] for record in self._records[place : place + 2])
        return not leaps(one, two)

    def _is_cut(self, before: int, after: int) -> bool:
        """Return whether a shot starts after `before`, and at `after` or earlier."""
        return bisect.bisect_right(self._cuts, before) < bisect.bisect_right(self._cuts, after)


def leaps(one: Floats, two: Floats) -> bool:
    """Return whether a face (n, 3) moves farther from one frame to the next than a head can."""
    flat, flatter = (points[:, 0].astype(np.float64) + 1j * points[:, 1] for points in (one, two))
    away = abs(flatter.mean() - flat.mean()) / geometry.width(one)
    growth = abs(np.log(geometry.width(two) / geometry.width(one)))
    turn = abs(np.angle(np.vdot(flat - flat.mean(), flatter - flatter.mean())))
    return bool(np.any(np.array([away, growth, turn]) > LEAP))
