"""Find the faces in the pictures of target and result, and follow each person through them."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchswap.delivery.proof import recognition
from batchswap.delivery.proof.frames import Pair
from batchswap.errors import EngineError
from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Box, ByteArray, Floats
from batchswap.local.engine.media import stills
from batchswap.local.engine.rendering.new_face import look_upright
from batchswap.local.engine.tracking import upright
from batchswap.local.engine.tracking.close_search import (
    STEADY,
    around,
    distance_from,
    is_new,
    look_everywhere,
    look_into,
    merged,
)
from batchswap.local.engine.tracking.finder import Finder

Embedding = NDArray[np.float32]

THOROUGH = 3
"""Pictures that are searched in small parts if the quick search finds no face in any."""
TURNED = 4
"""Pictures that are turned if that finds no face either."""
MINOR = 0.2
"""Faces with less than this part of the largest one's area are left out, unless faces were chosen."""
SAME_PLACE = 0.15
"""Least overlap of a face's places in target and result, as intersection over union."""
RARE = 8
"""A person that is seen in one of so many scenes is left out, if another one is seen more often."""
SAME_PERSON = 0.55
"""Distance of two embeddings. A smaller one means the same person."""
STAYED = 0.8
"""The same for a face in the same place as in the picture before."""


@dataclass(frozen=True, eq=False)
class ShownFace:
    """A face in a picture: its points (478, 3), and its box relative to the picture's size."""

    picture: ByteArray
    points: Floats
    embedding: Embedding

    @property
    def place(self) -> Box:
        return relative(self.points, self.picture)

    @property
    def area(self) -> float:
        return geometry.area(self.place)


Couple = tuple[ShownFace | None, ShownFace | None]
"""A person's face in target and result. One of the two may be missing."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A moment with the faces in target and result. `target` is empty if it cannot be had."""

    pair: Pair
    target: tuple[ShownFace, ...]
    result: tuple[ShownFace, ...]


@dataclass(eq=False)
class SeenPerson:
    """A person's face in target and result, by the number of the scene. One of the two may be missing."""

    faces: dict[int, Couple]

    @property
    def area(self) -> float:
        """The sum over all scenes, by which the engine numbers the people of a clip."""
        return sum(self.at(number).area for number in self.faces)

    def at(self, number: int) -> ShownFace:
        """Return the face in the target, or in the result without a target."""
        one, other = self.faces[number]
        face = one or other
        assert face is not None
        return face


@functools.cache
def finder(confidence: float = 0.5) -> Finder:
    """Return a finder that is opened once in each process."""
    return Finder.for_stills(confidence)


@functools.lru_cache(64)
def new_embedding(path: Path, _version: tuple[int, int]) -> Embedding:
    """Return the embedding of the largest face in a picture file. Raises EngineError("face", …) without a face."""
    picture = stills.read(path, "face").rgb
    turns, faces = look_upright(picture)
    if not len(faces):
        raise EngineError("face", "no face found in the face picture")
    best = max(faces, key=geometry.face_area)
    chip = recognition.chip(upright.turn(picture, turns), best)
    return np.asarray(recognition.embeddings([chip])[0])


def relative(points: Floats, picture: ByteArray) -> Box:
    left, top, right, bottom = geometry.box(points)
    wide, high = geometry.size_of(picture)
    return left / wide, top / high, right / wide, bottom / high


def moved(points: Floats, source: ByteArray, target: ByteArray) -> Floats:
    """Return the points in a picture of another size."""
    across, down = (new / old for new, old in zip(geometry.size_of(target), geometry.size_of(source), strict=True))
    return points * np.array([across, down, across], np.float32)


def scenes(pairs: Sequence[Pair], *, everyone: bool) -> tuple[list[Scene], int]:
    """Find all faces. Return the scenes, and the quarter turns that brought the pictures upright."""
    turns = 0
    found = find_all(pairs, thorough=everyone or len(pairs) == 1)
    if not any(one or other for one, other in found):
        turns = way(pairs)
        if turns:
            pairs = [turned(pair, turns) for pair in pairs]
            found = find_all(pairs, thorough=False)
    kept = [(main(one, everyone=everyone), main(other, everyone=everyone)) for one, other in found]
    return list(recognised(pairs, kept)), turns


def turned(pair: Pair, turns: int) -> Pair:
    target = None if pair.target is None else upright.turn(pair.target, turns)
    return Pair(pair.time, target, upright.turn(pair.result, turns), pair.left)


def way(pairs: Sequence[Pair]) -> int:
    """Return the quarter turns after which the pictures show faces; 0 if there are none."""
    some = pairs[:: max(1, len(pairs) // TURNED)]
    return upright.find_way(pair.result if pair.target is None else pair.target for pair in some)


def main(faces: Sequence[Floats], *, everyone: bool) -> list[Floats]:
    """Return the faces that count, the largest first."""
    ordered = sorted(faces, key=geometry.face_area, reverse=True)
    return [face for face in ordered if everyone or geometry.face_area(face) > MINOR * geometry.face_area(ordered[0])]


def find_all(pairs: Sequence[Pair], *, thorough: bool) -> list[tuple[list[Floats], list[Floats]]]:
    """Return the faces of target and result for each pair, also those that are only found with the other's help."""
    before = find([pair.target for pair in pairs if pair.target is not None], thorough=thorough)
    after = find([pair.result for pair in pairs], thorough=thorough and not before)
    if not before:
        return [([], faces) for faces in after]
    found = []
    for pair, one, other in zip(pairs, before, after, strict=True):
        assert pair.target is not None
        more = helped(pair.result, other, [moved(face, pair.target, pair.result) for face in one])
        less = helped(pair.target, one, [moved(face, pair.result, pair.target) for face in other])
        found.append((less, more))
    return found


def find(pictures: Sequence[ByteArray], *, thorough: bool) -> list[list[Floats]]:
    """Return the faces of each picture. Where the quick search finds none, look where the next picture has them."""
    found = [list(merged([finder().find(picture)])) for picture in pictures]
    if thorough or not any(found):
        for number in range(0, len(pictures), max(1, len(pictures) // THOROUGH)):
            more = look_everywhere(finder(), pictures[number])
            found[number] += [
                face for face in more if is_new(face, found[number]) and is_steady(pictures[number], face)
            ]
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        step = -order.step
        for number in order:
            near = found[number + step]
            found[number] = helped(pictures[number], found[number], near)
    return found


def is_steady(picture: ByteArray, face: Floats) -> bool:
    """Return whether a second, closer look confirms a face. A similar pattern moves."""
    tile = around(face, geometry.size_of(picture))
    return tile is not None and distance_from(face, look_into(finder(), picture, tile)) < STEADY


def helped(picture: ByteArray, faces: list[Floats], known: Sequence[Floats]) -> list[Floats]:
    """Return the faces of a picture, and those found in a search around the places of `known` ones."""
    kept = list(faces)
    for face in known:
        edges = geometry.box(face)
        if all(geometry.overlap(edges, geometry.box(other)) < SAME_PLACE for other in kept):
            tile = around(face, geometry.size_of(picture))
            kept += [] if tile is None else look_into(finder(upright.CONFIDENCE), picture, tile)
    return list(merged([kept]))


def recognised(pairs: Sequence[Pair], found: Sequence[tuple[list[Floats], list[Floats]]]) -> Iterator[Scene]:
    """Compute all embeddings together."""
    cuts = [
        (picture, points)
        for pair, sides in zip(pairs, found, strict=True)
        for picture, faces in zip((pair.target, pair.result), sides, strict=True)
        for points in faces
        if picture is not None
    ]
    known = recognition.embeddings([recognition.chip(picture, points) for picture, points in cuts])
    faces = (ShownFace(picture, points, each) for (picture, points), each in zip(cuts, known, strict=True))
    for pair, (one, other) in zip(pairs, found, strict=True):
        yield Scene(pair, tuple(next(faces) for _ in one), tuple(next(faces) for _ in other))


def people(seen: Sequence[Scene]) -> list[SeenPerson]:
    """Follow each person through the targets, or the results without a target. The largest one comes first.

    Who is seen in few scenes only is left out: most of them are errors of the finder.
    """
    found: list[SeenPerson] = []
    for number, scene in enumerate(seen):
        free = list(found)
        for face, couple in couples(scene):
            person = best(free, face, number)
            if person is None:
                found.append(SeenPerson({number: couple}))
            else:
                free.remove(person)
                person.faces[number] = couple
    often = [person for person in found if len(person.faces) > len(seen) // RARE]
    return sorted(often or found, key=lambda person: -person.area)


def couples(scene: Scene) -> Iterator[tuple[ShownFace, Couple]]:
    """Yield each face of the target, or of the result without a target, and the two faces in its place."""
    if scene.pair.target is None:
        yield from ((face, (None, face)) for face in scene.result)
    rest = list(scene.result)
    for face in scene.target:
        near = max(rest, key=lambda other: geometry.overlap(face.place, other.place), default=None)
        if near is not None and geometry.overlap(face.place, near.place) > SAME_PLACE:
            rest.remove(near)
            yield face, (face, near)
        else:
            yield face, (face, None)


def best(people: Sequence[SeenPerson], face: ShownFace, number: int) -> SeenPerson | None:
    """Return the person whose face this is; None for a new one."""
    rated = [(apart(person, face, number), person) for person in people]
    distance, person = min(rated, key=lambda pair: pair[0], default=(float("inf"), None))
    return person if distance < float("inf") else None


def apart(person: SeenPerson, face: ShownFace, number: int) -> float:
    """Return the distance of a face from the nearest one of a person; inf if it is another person's."""
    distance = min(float(np.linalg.norm(person.at(each).embedding - face.embedding)) for each in person.faces)
    before = person.at(number - 1) if number - 1 in person.faces else None
    stayed = before is not None and geometry.overlap(before.place, face.place) > SAME_PLACE
    return distance if distance < (STAYED if stayed else SAME_PERSON) else float("inf")
