"""Join the faces of single frames into the people of a clip.

First, frame by frame, a face continues the track that fits its place, size and look. A track ends when its face is
covered or away. Then tracks that never occur at the same time and look alike become one person.
"""

import array
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Box, Floats

PATIENCE = 8
"""Frames that a face may be away before its track ends."""
FARTHEST = 0.9
"""Distance from the expected place per frame, relative to the face's size. A face farther away is another one."""
UNLIKE = 0.5
"""Looks with a larger difference belong to different people, even in the same place."""
ALIKE = 0.38
"""Tracks with a smaller difference of looks belong to one person."""
SEEN = 6
"""Frames in which a person must be found. Fewer are an error of the finder. In a shorter clip, all frames."""


@dataclass(frozen=True)
class Sighting:
    """One face in one frame. `record` is its number in the store."""

    frame: int
    record: int
    edges: Box
    look: Floats

    @property
    def centre(self) -> NDArray[np.float64]:
        left, top, right, bottom = self.edges
        return np.array([(left + right) / 2, (top + bottom) / 2])

    @property
    def size(self) -> float:
        return float(np.sqrt(max(1.0, geometry.area(self.edges))))


@dataclass
class FaceTrack:
    """One face in consecutive frames. Memory: 16 bytes per frame."""

    frames: "array.array[int]" = field(default_factory=lambda: array.array("q"))
    records: "array.array[int]" = field(default_factory=lambda: array.array("q"))
    area: float = 0.0
    look: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    looks: int = 0
    last: Sighting | None = None
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def add(self, seen: Sighting, *, clear: bool) -> None:
        """Continue the track. If the face is `clear`, not covered by another one, also learn its look."""
        if self.last is not None:
            step = (seen.centre - self.last.centre) / max(1, seen.frame - self.last.frame)
            self.speed = 0.5 * self.speed + 0.5 * step
        self.frames.append(seen.frame)
        self.records.append(seen.record)
        self.area += geometry.area(seen.edges)
        self.last = seen
        if clear or not self.looks:
            self.looks += 1
            weight = max(1 / self.looks, 0.02)
            self.look = seen.look if self.looks == 1 else self.look + weight * (seen.look - self.look)

    def cost(self, seen: Sighting) -> float:
        """Return the cost of continuing this track with `seen`; inf if it cannot be the same face."""
        assert self.last is not None
        gap = seen.frame - self.last.frame
        expected = self.last.centre + self.speed * gap
        size = max(self.last.size, seen.size)
        away = float(np.linalg.norm(seen.centre - expected)) / size
        growth = abs(math.log(seen.size / self.last.size))
        unlike = difference(self.look, seen.look)
        if away > FARTHEST * (1 + 0.15 * (gap - 1)) or growth > 0.5 or unlike > UNLIKE:
            return float("inf")
        return away + growth + unlike


def difference(one: Floats, other: Floats) -> float:
    """Return the difference of two looks, 0 if they are equal."""
    return float(np.mean(np.abs(one - other)))


def describe(colours: NDArray[np.uint8]) -> Floats:
    """Return the look (1404,) of a face from its colours (468, 3): normalised luma, and chroma."""
    codes = colours.astype(np.float32)
    luma = codes[:, 0]
    spread = max(4.0, float(luma.std()))
    return np.concatenate([(luma - luma.mean()) / spread, *((codes[:, 1:] - 128) / 12).T]).astype(np.float32)


class Follower:
    """Collects the faces of one frame after another. Afterwards, `people` joins them into people."""

    def __init__(self) -> None:
        self.frames = 0
        self.cuts: list[int] = []
        """Frames that start a shot, in order."""
        self._open: list[FaceTrack] = []
        self._closed: list[FaceTrack] = []

    def see(self, sightings: list[Sighting], *, cut: bool = False) -> None:
        """Add all faces of the next frame. `cut`: it starts a shot."""
        frame = self.frames
        if cut:
            self.cuts.append(frame)
        self.frames += 1
        self._close([track for track in self._open if track.last and frame - track.last.frame > PATIENCE])
        costs = [(track.cost(seen), t, s) for t, track in enumerate(self._open) for s, seen in enumerate(sightings)]
        taken: set[int] = set()
        continued: set[int] = set()
        for cost, t, s in sorted(costs):
            if cost < float("inf") and t not in continued and s not in taken:
                continued.add(t)
                taken.add(s)
                self._open[t].add(sightings[s], clear=is_clear(sightings, s))
        for s, seen in enumerate(sightings):
            if s not in taken:
                track = FaceTrack()
                track.add(seen, clear=True)
                self._open.append(track)

    def people(self) -> list[list[FaceTrack]]:
        """Return the tracks of each person in order. The person with the largest area over the clip comes first."""
        self._close(list(self._open))
        people: list[list[FaceTrack]] = []
        for track in sorted(self._closed, key=lambda track: (-track.area, track.frames[0])):
            same = [person for person in people if may_be(person, track)]
            if same:
                min(same, key=lambda person: difference(person[0].look, track.look)).append(track)
            else:
                people.append([track])
        needed = min(SEEN, self.frames)
        people = [person for person in people if sum(len(track.frames) for track in person) >= needed]
        for person in people:
            person.sort(key=lambda track: track.frames[0])
        return sorted(people, key=lambda person: (-sum(track.area for track in person), person[0].frames[0]))

    def _close(self, tracks: list[FaceTrack]) -> None:
        for track in tracks:
            self._open.remove(track)
            self._closed.append(track)


def may_be(person: list[FaceTrack], track: FaceTrack) -> bool:
    """Return whether a track can belong to a person: they look alike and never occur at the same time."""
    together = any(other.frames[0] <= track.frames[-1] and track.frames[0] <= other.frames[-1] for other in person)
    return not together and difference(person[0].look, track.look) < ALIKE


def is_clear(sightings: list[Sighting], index: int) -> bool:
    edges = sightings[index].edges
    return all(geometry.overlap(edges, other.edges) < 0.05 for i, other in enumerate(sightings) if i != index)
