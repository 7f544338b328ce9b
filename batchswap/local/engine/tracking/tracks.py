"""Who is who: joins the faces found in single frames into people, through the whole clip.

First, frame by frame, a face continues the track that it fits by place, size and look; where two faces cover each
other or one is away, the track ends. Then tracks that are never seen at the same time and look alike are one person.
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
"""Of the face's size, per frame: a face farther from where it is expected is another one."""
UNLIKE = 0.5
"""Looks farther apart than this belong to different people, however near they stand."""
ALIKE = 0.38
"""Tracks whose looks are nearer than this are one person."""
SEEN = 6
"""Frames that a person must be found in; less is a mistake of the finder. A shorter clip asks for as many as it has."""


@dataclass(frozen=True)
class Sighting:
    """One face in one frame. `record` is where the store has it."""

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
    """One face followed without a doubt. Memory: 16 bytes a frame."""

    frames: "array.array[int]" = field(default_factory=lambda: array.array("q"))
    records: "array.array[int]" = field(default_factory=lambda: array.array("q"))
    area: float = 0.0
    look: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    looks: int = 0
    last: Sighting | None = None
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def add(self, seen: Sighting, *, clear: bool) -> None:
        """`clear`: nothing covers it, so its look may be learned."""
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
        """Return how badly `seen` would continue this track; inf when it cannot be the same face."""
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
    """Between two looks: 0 the same; what it is for one person and for two is in the constants above."""
    return float(np.mean(np.abs(one - other)))


def describe(colours: NDArray[np.uint8]) -> Floats:
    """The look (1404,) of a face from its colours (468, 3): light and dark as such, its tint as it is."""
    codes = colours.astype(np.float32)
    luma = codes[:, 0]
    spread = max(4.0, float(luma.std()))
    return np.concatenate([(luma - luma.mean()) / spread, *((codes[:, 1:] - 128) / 12).T]).astype(np.float32)


class Follower:
    """Takes the faces of one frame after another; `people` then says who they are."""

    def __init__(self) -> None:
        self.frames = 0
        self.cuts: list[int] = []
        """Frames that begin a shot, in order."""
        self._open: list[FaceTrack] = []
        self._closed: list[FaceTrack] = []

    def see(self, sightings: list[Sighting], *, cut: bool = False) -> None:
        """All faces of the next frame. `cut`: it begins a shot."""
        frame = self.frames
        if cut:
            self.cuts.append(frame)
        self.frames += 1
        self._close([track for track in self._open if track.last and frame - track.last.frame > PATIENCE])
        costs = [(track.cost(seen), t, s) for t, track in enumerate(self._open) for s, seen in enumerate(sightings)]
        taken: set[int] = set()
        gone_on: set[int] = set()
        for cost, t, s in sorted(costs):
            if cost < float("inf") and t not in gone_on and s not in taken:
                gone_on.add(t)
                taken.add(s)
                self._open[t].add(sightings[s], clear=is_clear(sightings, s))
        for s, seen in enumerate(sightings):
            if s not in taken:
                track = FaceTrack()
                track.add(seen, clear=True)
                self._open.append(track)

    def people(self) -> list[list[FaceTrack]]:
        """Each person's tracks in the order of time; the person with the largest area over the clip comes first."""
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
    """Whether a track can be the same person's: never at the same time, and alike."""
    together = any(other.frames[0] <= track.frames[-1] and track.frames[0] <= other.frames[-1] for other in person)
    return not together and difference(person[0].look, track.look) < ALIKE


def is_clear(sightings: list[Sighting], index: int) -> bool:
    edges = sightings[index].edges
    return all(geometry.overlap(edges, other.edges) < 0.05 for i, other in enumerate(sightings) if i != index)
