"""Examine a result: read some frames, find and compare the faces, decide, and draw the strip."""

from collections.abc import Sequence
from statistics import median
from typing import Any

import cv2
import msgspec
import numpy as np

from batchswap.delivery import strip
from batchswap.delivery.examination import Examination, FaceInput, SwapProof
from batchswap.delivery.proof import decide, frames, measure, outcome, people, recognition
from batchswap.delivery.proof.decide import FaceMeasures, MeanDistances
from batchswap.delivery.proof.outcome import PersonJudged
from batchswap.delivery.proof.people import Couple, Embedding, Scene, SeenPerson, ShownFace
from batchswap.errors import EngineError
from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.media import probe
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.states import Quality

Judged = tuple[PersonJudged, list[FaceMeasures]]
"""A person's judgements, and its measures against the new face that fits best."""

UNAVAILABLE = "it cannot be had"
UNREADABLE = "no frame of it could be read at the moments of the result"
LEFT = 2.0
"""Seconds. If more than this, and more than half of the clip, could not be read, its quality is unknown."""
MOST = 6
"""People in the evidence."""
UNSOUND = (OSError, ValueError, RuntimeError, MemoryError, cv2.error)
"""Errors of the libraries for media that they cannot handle."""


def examine(job: Examination) -> SwapProof:
    """See batchswap.delivery.proof.examine."""
    evidence: dict[str, Any] = {}
    recognition.network()
    cv2.setNumThreads(1)
    with kept_stderr():
        try:
            return _examine(job, evidence)
        except EngineError as error:
            reason = error.message
        except UNSOUND as error:
            reason = f"the frames cannot be examined: {type(error).__name__}"
    return SwapProof(Quality.UNKNOWN, None, None, evidence | {"reason": reason})


def _examine(job: Examination, evidence: dict[str, Any]) -> SwapProof:
    pairs = _read(job, evidence)
    if not pairs:
        raise EngineError("result", "no frame of the result could be decoded")
    if pairs[-1].left > max(pairs[-1].time, LEFT):
        raise EngineError("result", f"only the first {pairs[-1].time:.0f} seconds could be read")
    news = _new_embeddings(job.faces, evidence)
    scenes, turns = people.scenes(pairs, everyone=job.is_multi)
    persons = people.people(scenes)
    judged = [_judge(person, scenes, news) for person in persons]
    found = outcome.decide([person for person, _ in judged], is_multi=job.is_multi)
    evidence |= {"frames": len(scenes), "people": len(persons)} | ({"turned": turns} if turns else {})
    evidence |= {"faces": [_figures(*each) for each in judged[:MOST]]} | {"reason": found.reason}
    has_strip = False
    if job.strip is not None:
        problem = strip.write(job.strip, strip.draw(scenes, persons if job.is_multi else persons[:1]))
        has_strip = problem is None
        evidence |= {} if problem is None else {"strip": problem}
    return SwapProof(found.quality, _rounded(found.share), _rounded(found.score), evidence, has_strip)


def _read(job: Examination, evidence: dict[str, Any]) -> list[frames.Pair]:
    """Return the frames, without those of the target if it cannot be used."""
    problem = UNAVAILABLE
    if job.target is not None:
        try:
            if pairs := list(frames.read(job.result, job.target, job.kind)):
                return pairs
            problem = UNREADABLE
        except EngineError as error:
            if error.culprit != "target":
                raise
            problem = error.message
    _miss(evidence, "target", problem)
    return list(frames.read(job.result, None, job.kind))


def _new_embeddings(faces: Sequence[FaceInput], evidence: dict[str, Any]) -> list[Embedding | None]:
    """Return what the new faces look like; None for each one that cannot be had."""
    found: list[Embedding | None] = []
    for face in faces:
        try:
            found.append(_new_embedding(face))
        except EngineError as error:
            _miss(evidence, "face" if face.face_id is None else f"face {face.face_id}", error.message)
            found.append(None)
    return found


def _new_embedding(face: FaceInput) -> Embedding:
    if face.path is None:
        raise EngineError("face", UNAVAILABLE)
    probe.check_file(face.path, "face", None)
    about = face.path.stat()
    return people.new_embedding(face.path, (about.st_mtime_ns, about.st_size))


def _miss(evidence: dict[str, Any], what: str, reason: str) -> None:
    evidence["missing"] = evidence.get("missing", {}) | {what: reason}


def _judge(person: SeenPerson, scenes: Sequence[Scene], news: Sequence[Embedding | None]) -> Judged:
    """Compare a person with each new face."""
    couples = list(person.faces.values())
    seen = [_sight(scenes[number], *couple) for number, couple in person.faces.items()]
    compared = [[_against(sight, *couple, new) for sight, couple in zip(seen, couples, strict=True)] for new in news]
    judgements = tuple(decide.judge(each, _mean(each, couples, new)) for each, new in zip(compared, news, strict=True))
    best = max(range(len(news)), key=lambda number: judgements[number].score or 0.0)
    return PersonJudged(person.area, judgements, decide.doubt(compared[best])), compared[best]


def _mean(sightings: Sequence[FaceMeasures], couples: Sequence[Couple], new: Embedding | None) -> MeanDistances:
    """Return the distances of the mean of the changed faces."""
    changed = [couple for seen, couple in zip(sightings, couples, strict=True) if decide.is_changed(seen)]
    shown = [after.embedding for _, after in changed if after is not None]
    before = [face.embedding for face, _ in changed if face is not None]
    if not shown:
        return MeanDistances(None, None)
    mean = np.mean(shown, axis=0)
    to_old = float(np.linalg.norm(mean - np.mean(before, axis=0))) if before else None
    return MeanDistances(None if new is None else float(np.linalg.norm(mean - new)), to_old)


def _sight(scene: Scene, before: ShownFace | None, after: ShownFace | None) -> FaceMeasures:
    """Measure a face at one moment, without a comparison with the new face."""
    width = min(geometry.width(face.points) for face in (before, after) if face)
    if before is None or scene.pair.target is None:
        return FaceMeasures(width)
    rest = measure.rest_change(scene)
    if after is None:
        change = measure.change_in_place(before, scene.pair.result)
        return FaceMeasures(width, change=change, rest=rest, is_gone=change > decide.LOST)
    old = float(np.linalg.norm(before.embedding - after.embedding))
    return FaceMeasures(width, old, change=measure.face_change(before, after), rest=rest)


def _against(
    seen: FaceMeasures, before: ShownFace | None, after: ShownFace | None, new: Embedding | None
) -> FaceMeasures:
    """Add the distances from one new face."""
    if new is None:
        return seen
    one, other = (None if face is None else float(np.linalg.norm(face.embedding - new)) for face in (before, after))
    return msgspec.structs.replace(seen, new=other, pair=one)


def _figures(person: PersonJudged, sightings: Sequence[FaceMeasures]) -> dict[str, Any]:
    """Return the medians of the measures, and how many frames show what."""
    best = max(person.judgements, key=lambda each: each.score or 0.0)
    found: dict[str, Any] = {
        "area": round(person.area, 4),
        "shows": {shows.value: count for shows, count in best.counts.items()},
    }
    for name in ("width", "old", "new", "pair", "change", "rest"):
        values = [value for seen in sightings if (value := getattr(seen, name)) is not None]
        if values:
            found[name] = round(median(values), 3)
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
