"""Look for faces in a few frames of a clip, without decoding all of it: is there one, and which one is the primary?"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batchswap.errors import EngineError
from batchswap.local.engine import swap_still
from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats
from batchswap.local.engine.media import probe, reader, stills
from batchswap.local.engine.media.colour_planes import Coding, look, planes_of
from batchswap.local.engine.media.orientation import orientation_of
from batchswap.local.engine.media.samples import Sampler
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.tracking import upright
from batchswap.local.engine.tracking.close_search import STEADY, around, distance_from, look_everywhere, look_into
from batchswap.local.engine.tracking.finder import Finder
from batchswap.local.engine.tracking.tracks import ALIKE, describe, difference
from batchswap.local.engine.values import FaceSurvey, MediaInfo
from batchswap.tasks import MediaKind

SAMPLES = 8
"""Frames of a clip that are examined first."""
CLEAR = 0.1
"""If half of them show one face each, at least this wide in relation to the picture, the others are not needed."""
STEP, MOST = 0.5, 240
"""If they show no face: seconds between the further frames, and the most of them."""
ENOUGH = 3
"""Number of further frames with a face that ends the search."""
SIDE = 0.4
"""The middle begins this far from the left edge, and ends this far from the right one."""
CODING = Coding()


@dataclass(frozen=True)
class SampledFrame:
    """A frame as a viewer sees it, scaled down, and its faces (478, 3) after `turns` quarter turns."""

    seconds: float
    picture: ByteArray
    faces: tuple[Floats, ...]
    turns: int
    is_sure: bool
    """Whether the largest face is certainly upright."""


@dataclass(eq=False)
class SampledPerson:
    """The faces of one person in several samples."""

    look: Floats
    since: float
    place: str
    area: float = 0.0
    share: float = 0.0


def survey_faces(path: Path, kind: MediaKind, threads: int | None) -> FaceSurvey:
    """See batchswap.local.engine.survey_faces."""
    with kept_stderr():
        info = probe.probe(path, kind)
        if info.kind != kind:
            raise EngineError(kind, f"is {'an image, not a video' if kind == 'video' else 'a video, not an image'}")
        return survey_clip(path, info, threads) if kind == "video" else survey_still(path, info)


def survey_still(path: Path, info: MediaInfo) -> FaceSurvey:
    picture = stills.read(path, info.kind)
    turns, points = swap_still.find_people(picture)
    size = geometry.size_of(picture.rgb)
    faces = tuple(geometry.turned(face, -turns, geometry.turned_size(size, turns)) for face in points)
    return conclude(info, [SampledFrame(0.0, picture.rgb, faces, turns, is_sure=True)], 1)


def survey_clip(path: Path, info: MediaInfo, threads: int | None) -> FaceSurvey:
    with (
        reader.open_clip(path, "video", threads) as clip,
        Finder.for_stills() as finder,
        Finder.for_stills(upright.CONFIDENCE) as closer,
    ):
        examiner, sampler, length = SampleExaminer(finder, closer), Sampler(clip), info.duration_s
        times, slack = spread(length, SAMPLES), length / SAMPLES / 4
        samples = [examiner.see(*shown, 0) for shown in pictures(sampler, times[::2], slack)]
        if not is_clear(samples):
            samples += [examiner.see(*shown, 0) for shown in pictures(sampler, times[1::2], slack)]
        if turns := find_turns(samples):
            samples = [examiner.see(each.seconds, each.picture, turns) for each in samples]
        elif not any(each.faces for each in samples):
            count = min(MOST, int(length / STEP) + 1)
            more = pictures(sampler, spread(length, count), length / count / 4)
            samples += itertools.islice(examiner.search(more), ENOUGH)
        if not examiner.frames:
            raise EngineError("video", "the video is damaged: none of its frames can be read")
        return conclude(info, samples, examiner.frames)


def spread(length: float, count: int) -> list[float]:
    """Return times in the middle of `count` equal parts."""
    return [length * (number + 0.5) / count for number in range(count)]


def pictures(sampler: Sampler, times: Iterable[float], slack: float) -> Iterator[tuple[float, ByteArray]]:
    """Yield frames as a viewer sees them, scaled down."""
    for seconds, frame in sampler.read(times, slack):
        yield seconds, upright.turn(reader.rgb_of(frame), orientation_of(frame).turns)


def is_clear(samples: Sequence[SampledFrame]) -> bool:
    """Return whether more samples would show nothing new: each shows one large, upright face."""
    return len(samples) > 1 and all(
        len(each.faces) == 1 and each.is_sure and share(each, each.faces[0]) >= CLEAR for each in samples
    )


class SampleExaminer:
    """Finds the faces that a second look confirms. `frames` counts what it saw."""

    def __init__(self, finder: Finder, closer: Finder) -> None:
        """`closer` needs less confidence."""
        self._finder, self._closer = finder, closer
        self.frames = 0

    def see(self, seconds: float, picture: ByteArray, turns: int) -> SampledFrame:
        self.frames += not turns
        turned = upright.turn(picture, turns)
        faces = [face for face in look_everywhere(self._finder, turned) if self._is_steady(turned, face)]
        is_sure = bool(faces) and upright.doubt(self._closer, turned, faces) < upright.SURE
        return SampledFrame(seconds, picture, tuple(faces), turns, is_sure)

    def search(self, shown: Iterable[tuple[float, ByteArray]]) -> Iterator[SampledFrame]:
        """Yield the samples that show a face in some orientation, all of them in the orientation of the first."""
        ways: Sequence[int] = upright.WAYS
        for seconds, picture in shown:
            self.frames += 1
            for turns in ways:
                turned = upright.turn(picture, turns)
                faces = look_everywhere(self._finder, turned) if not turns else self._closer.find(turned)
                steady = tuple(face for face in faces if self._is_steady(turned, face))
                is_sure = bool(steady) and upright.doubt(self._closer, turned, steady) < upright.SURE
                if is_sure or (steady and not turns):
                    ways = (turns,)
                    yield SampledFrame(seconds, picture, steady, turns, is_sure)
                    break

    def _is_steady(self, picture: ByteArray, face: Floats) -> bool:
        place = around(face, geometry.size_of(picture))
        return place is not None and distance_from(face, look_into(self._closer, picture, place)) < STEADY


def find_turns(samples: Sequence[SampledFrame]) -> int:
    """Return the quarter turns after which the clip's faces are upright; 0 if they are, or if there are none."""
    seen = [sample for sample in samples if sample.faces]
    if sum(sample.is_sure for sample in seen) * 2 > len(seen):
        return 0
    return upright.find_way(sample.picture for sample in samples)


def conclude(info: MediaInfo, samples: Sequence[SampledFrame], frames: int) -> FaceSurvey:
    """Return the survey: the primary face is that of the person with the largest area over all samples."""
    people = people_in(sorted(samples, key=lambda sample: sample.seconds))
    if not people:
        return FaceSurvey(info.kind, info.duration_s, frames)
    primary = max(people, key=lambda person: person.area)
    at_once = max(len(sample.faces) for sample in samples)
    return FaceSurvey(
        info.kind, info.duration_s, frames, at_once, primary.share, primary.place, primary.since, samples[-1].turns
    )


def people_in(samples: Sequence[SampledFrame]) -> list[SampledPerson]:
    """Join faces that look alike into people."""
    people: list[SampledPerson] = []
    for sample in samples:
        free = list(people)
        for face in sorted(sample.faces, key=geometry.face_area, reverse=True):
            found = look_of(sample, face)
            person = min(free, key=lambda each: difference(each.look, found), default=None)
            if person is None or difference(person.look, found) >= ALIKE:
                person = SampledPerson(found, sample.seconds, place_of(sample, face))
                people.append(person)
            else:
                free.remove(person)
            person.area += geometry.face_area(face)
            person.share = max(person.share, share(sample, face))
    return people


def look_of(sample: SampledFrame, face: Floats) -> Floats:
    codes = np.asarray(np.rint(CODING.encode(upright.turn(sample.picture, sample.turns))), np.uint8)
    return describe(look(planes_of(codes), face))


def share(sample: SampledFrame, face: Floats) -> float:
    return geometry.width(face) / geometry.size_of(sample.picture)[0]


def place_of(sample: SampledFrame, face: Floats) -> str:
    """Return where a face is in the picture as a viewer sees it."""
    size = geometry.size_of(sample.picture)
    left, _, right, _ = geometry.box(geometry.turned(face, sample.turns, size))
    middle = (left + right) / 2 / size[0]
    return "left" if middle < SIDE else "right" if middle > 1 - SIDE else "middle"
