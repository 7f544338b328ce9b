"""Decide from measures what the frames show of a person. Pure: no I/O, no NumPy.

First, each moment tells whether the face changed. Then the faces that changed are compared together with the new face
and the old one, because their mean shows more clearly than a single frame who they are. What the measures do not allow
to say is `UNCLEAR`, and never a guess. Thresholds come from one half of tests/benchmarks/labelled_results.py.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import median

import msgspec

SAME = 0.45
"""Distance of two faces. Encoding alone seldom moves a face farther."""
BLURRED = 0.62
"""The same for the strongest compression, if the picture of the face hardly changed."""
STILL, CHANGED = 0.08, 0.11
"""Change of a face's features: up to the first, encoding explains it; from the second on, a swap does."""
ELSEWHERE = 0.5
"""Change of the rest from which on target and result show different pictures."""
LOST = 0.3
"""Change in the place of a face that is not found in the result. From here on, the face is not there any more."""
SMALLEST = 26.0
"""Width of a face in pixels. A smaller one does not show who it is."""

NEAR = 0.555
"""Distance of the changed faces from the new one: 0.35 to 0.55 in swaps, 0.57 and more for other people."""
NEAR_ALONE = 0.5
"""The same where the old face cannot be had, so that nothing else counts."""
FAR = 0.63
"""Faces that are farther away from both the new and the old face are another person's."""
NOT_NEW = 0.78
"""A single changed face that is farther away from the new one was not swapped."""
ALIKE = 0.5
"""If old and new face are nearer than this, no distance tells them apart."""

ALL, NONE = 0.85, 0.15
"""Share of the moments from which on a person counts as swapped, or up to which as not swapped.

One wrong moment of eight changes nothing."""
KNOWN = 0.4
"""Share of the moments that must allow a decision."""
SPREAD = 0.08
"""How fast the score rises with the difference of the two distances."""


class Shows(StrEnum):
    """What one face shows at one moment, or a person over all moments."""

    NEW = "new"
    OLD = "old"
    PARTLY = "partly"
    OTHER = "other"
    GONE = "gone"
    UNCLEAR = "unclear"


class FaceMeasures(msgspec.Struct, frozen=True, gc=False):
    """Measures of one person at one moment; None: it cannot be measured.

    `old`, `new` and `pair` are distances: of result and target, result and new face, target and new face.
    `change` and `rest` are how much the face and the rest of the picture changed. `width` is in pixels.
    """

    width: float
    old: float | None = None
    new: float | None = None
    pair: float | None = None
    change: float | None = None
    rest: float | None = None
    is_gone: bool = False
    """Whether the target shows a face here and the result does not."""


class MeanDistances(msgspec.Struct, frozen=True, gc=False):
    """Distances of the mean of the changed faces from the new face, and from the mean of the old ones."""

    new: float | None
    old: float | None


class Judgement(msgspec.Struct, frozen=True):
    """A person compared with one new face. `share` and `score` are None if nothing is known."""

    shows: Shows
    share: float | None
    score: float | None
    counts: Mapping[Shows, int]
    has_changed: bool | None = None
    """Whether the face is another one than in the target, whatever the new face looks like; None if that is unclear."""


def is_changed(seen: FaceMeasures) -> bool | None:
    """Return whether the face changed from the target to the result; None if that is unclear.

    Without the target, every face may be a changed one.
    """
    if seen.is_gone or seen.width < SMALLEST:
        return False if seen.change is not None and seen.change < STILL and not seen.is_gone else None
    if seen.old is None or seen.change is None:
        return None if seen.new is None else True
    if (seen.rest or 0.0) > ELSEWHERE:
        return None
    if seen.old < SAME or (seen.change < STILL and seen.old < BLURRED):
        return False
    return True if seen.change > max(CHANGED, seen.rest or 0.0) else None


def judge(sightings: Sequence[FaceMeasures], mean: MeanDistances) -> Judgement:
    """Judge a person by all moments at which it is seen. `mean` is of the moments at which it changed."""
    who = recognise(sightings, mean)
    counts = Counter(_shown(seen, who) for seen in sightings)
    known = len(sightings) - counts[Shows.UNCLEAR]
    changes = Counter(is_changed(seen) for seen in sightings)
    has_changed = True if changes[True] > NONE * len(sightings) else None
    if changes[False] >= ALL * len(sightings):
        has_changed = False
    doubtful = changes[True] if who == Shows.UNCLEAR else 0
    if _is_alike(sightings) or known < max(1, KNOWN * len(sightings)) or doubtful > NONE * len(sightings):
        return Judgement(Shows.UNCLEAR, None, None, counts, has_changed)
    share = counts[Shows.NEW] / known
    if share >= ALL:
        return Judgement(Shows.NEW, share, share * nearness(mean), counts, has_changed)
    if share > NONE:
        return Judgement(Shows.PARTLY, share, share * nearness(mean), counts, has_changed)
    most = max((Shows.OLD, Shows.OTHER, Shows.GONE), key=lambda each: counts[each])
    if most == Shows.OLD and counts[Shows.OLD] < (1 - NONE) * known:
        most = Shows.OTHER if counts[Shows.OTHER] >= counts[Shows.GONE] else Shows.GONE
    return Judgement(most, share, share * nearness(mean), counts, has_changed)


def recognise(sightings: Sequence[FaceMeasures], mean: MeanDistances) -> Shows:
    """Return who the changed faces are: NEW, OTHER or UNCLEAR."""
    if mean.new is None or _is_alike(sightings):
        return Shows.UNCLEAR
    if mean.old is None:
        return Shows.NEW if mean.new < NEAR_ALONE else Shows.UNCLEAR
    if mean.new < min(NEAR, mean.old):
        return Shows.NEW
    return Shows.OTHER if min(mean.new, mean.old) > FAR else Shows.UNCLEAR


def _is_alike(sightings: Sequence[FaceMeasures]) -> bool:
    """Return whether the old face looks like the new one."""
    pairs = [seen.pair for seen in sightings if seen.pair is not None]
    return bool(pairs) and median(pairs) < ALIKE


def _shown(seen: FaceMeasures, who: Shows) -> Shows:
    """Return what one moment shows, if the changed faces show `who`."""
    if seen.is_gone:
        return Shows.GONE
    changed = is_changed(seen)
    if changed is None:
        return Shows.UNCLEAR
    if not changed:
        return Shows.OLD
    if who == Shows.NEW and seen.new is not None:
        limit = NOT_NEW if seen.old is not None else FAR
        return Shows.NEW if seen.new < limit else (Shows.OTHER if seen.old is not None else Shows.UNCLEAR)
    return who


def nearness(mean: MeanDistances) -> float:
    """Return how much nearer the changed faces are to the new one than to the old one, 0 to 1."""
    if mean.new is None:
        return 0.0
    apart = (FAR if mean.old is None else mean.old) - mean.new
    return 1 / (1 + math.exp(-apart / SPREAD))


def doubt(sightings: Sequence[FaceMeasures]) -> str:
    """Return the most likely reason why a person is unclear."""
    width = median(seen.width for seen in sightings)
    if all(seen.new is None for seen in sightings):
        return "the picture of the new face cannot be had, and the face is not clearly the old one"
    if width < SMALLEST:
        return f"the face is {width:.0f} pixels wide, too small to be recognised"
    if all(seen.old is None for seen in sightings):
        return "without the target, the face is not near enough to the new one to be sure"
    if _is_alike(sightings):
        return "the old and the new face look alike"
    if median(seen.rest or 0.0 for seen in sightings) > ELSEWHERE:
        return "target and result show different pictures"
    return "the face changed, but the frames do not show clearly whose face it is"
