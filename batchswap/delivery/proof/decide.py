"""Decide from measures whether a result is a swap. Pure: no I/O, no NumPy.

First, each face at each moment gets a verdict, then each person, then the result. A verdict that the measures do not
allow is `UNCLEAR`, and never a guess. The thresholds were chosen with one half of tests/benchmarks/labelled_results.py.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean, median

import msgspec

NEAR = 0.57
"""Distance from the new face. In swaps it is 0.37 to 0.59, and for other people from 0.59 on."""
NEAR_ALONE = 0.5
"""The same where the old face cannot be had, so that nothing else counts."""
MARGIN = 0.1
"""A face is nearer to one of two others only if the distances differ by this much."""
FAR = 0.6
"""A face farther away than this is another person."""
SAME = 0.45
"""A face nearer than this is the same person. Encoding alone moves a face by up to 0.6."""
ALIKE = 0.5
"""If old and new face are nearer than this, no distance tells them apart."""
CHANGED = 0.06
"""Change of a face's features. Swaps change 0.14 to 0.25; encoding changes 0.05, seldom more."""
STILL = 0.03
"""A face that changed less than this shows the same picture."""
SMALLEST = 26.0
"""Width of a face in pixels. A smaller one does not show who it is."""

ALL, NONE = 0.9, 0.1
"""Share of the moments from which on a person counts as swapped, or up to which as not swapped."""
KNOWN = 0.4
"""Share of the moments that must allow a verdict."""
LOST = 0.3
"""Change in the place of a face that is not found in the result. From here on, the face is not there any more."""
ELSEWHERE = 0.5
"""Change of the rest from which on target and result show different pictures."""
SPREAD = 0.08
"""The difference of the two distances that moves the score from one half to three quarters, nearly."""


class Shows(StrEnum):
    """What one face shows at one moment, or one person over all moments."""

    NEW = "new"
    OLD = "old"
    PARTLY = "partly"
    OTHER = "other"
    GONE = "gone"
    UNCLEAR = "unclear"


class FaceMeasures(msgspec.Struct, frozen=True, gc=False):
    """Measures of one person at one moment; None: it cannot be measured.

    `old`, `new` and `pair` are distances of embeddings: result and target, result and new face, target and new face.
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


class Judgement(msgspec.Struct, frozen=True):
    """A person compared with one new face. `share` and `score` are None without a known moment."""

    verdict: Shows
    share: float | None
    score: float | None
    counts: Mapping[Shows, int]
    is_still: bool = False
    """Whether the face is the same as in the target, whatever the new face looks like."""


def look(seen: FaceMeasures) -> Shows:
    """Return what a face shows at one moment."""
    if seen.is_gone:
        return Shows.GONE
    if seen.old is None:
        return _look_alone(seen)
    change, rest = seen.change or 0.0, seen.rest or 0.0
    changed = change > max(CHANGED, rest)
    if rest > ELSEWHERE or (seen.pair is not None and seen.pair < ALIKE):
        return Shows.UNCLEAR
    if change < STILL and rest < CHANGED and (seen.new is None or seen.old < seen.new + MARGIN):
        return Shows.OLD
    if seen.width < SMALLEST:
        return Shows.UNCLEAR
    if seen.new is None:
        return Shows.OLD if seen.old < SAME and not changed else Shows.UNCLEAR
    if changed and seen.new < NEAR and seen.new < seen.old - MARGIN:
        return Shows.NEW
    if seen.old < FAR and seen.old < seen.new - MARGIN:
        return Shows.OLD
    return Shows.OTHER if changed and min(seen.old, seen.new) > FAR else Shows.UNCLEAR


def shows_no_change(seen: FaceMeasures) -> bool:
    """Return whether the face is the one of the target."""
    if seen.old is None or seen.change is None:
        return False
    return seen.old < SAME or seen.change < STILL


def _look_alone(seen: FaceMeasures) -> Shows:
    """Without the old face, only a face that is clearly the new one can be recognised."""
    is_new = seen.new is not None and seen.new < NEAR_ALONE and seen.width >= SMALLEST
    return Shows.NEW if is_new else Shows.UNCLEAR


def nearness(seen: FaceMeasures) -> float:
    """Return how much nearer the face is to the new one than to the old one, 0 to 1; one half if it is the same."""
    if seen.is_gone or seen.new is None:
        return 0.0
    apart = (FAR if seen.old is None else seen.old) - seen.new
    return 1 / (1 + math.exp(-apart / SPREAD))


def judge(sightings: Sequence[FaceMeasures]) -> Judgement:
    """Judge a person by all moments at which it is seen."""
    verdicts = [look(seen) for seen in sightings]
    counts = Counter(verdicts)
    known = len(verdicts) - counts[Shows.UNCLEAR]
    is_still = sum(shows_no_change(seen) for seen in sightings) >= ALL * len(sightings)
    if not known or known < KNOWN * len(verdicts):
        return Judgement(Shows.UNCLEAR, None, None, counts, is_still)
    share = counts[Shows.NEW] / known
    score = fmean(nearness(seen) for seen, found in zip(sightings, verdicts, strict=True) if found != Shows.UNCLEAR)
    return Judgement(_summary(share, counts), share, score, counts, is_still)


def _summary(share: float, counts: Mapping[Shows, int]) -> Shows:
    if share >= ALL:
        return Shows.NEW
    if share > NONE:
        return Shows.PARTLY
    return max((Shows.OLD, Shows.OTHER, Shows.GONE), key=lambda each: counts.get(each, 0))


def doubt(sightings: Sequence[FaceMeasures]) -> str:
    """Return the most likely reason why a person is unclear."""
    width = median(seen.width for seen in sightings)
    pairs = [seen.pair for seen in sightings if seen.pair is not None]
    if all(seen.new is None for seen in sightings):
        return "the picture of the new face cannot be had, and the face is not clearly the old one"
    if width < SMALLEST:
        return f"the face is {width:.0f} pixels wide, too small to be recognised"
    if all(seen.old is None for seen in sightings):
        return "without the target, the face is not near enough to the new one to be sure"
    if pairs and median(pairs) < ALIKE:
        return "the old and the new face look alike"
    if median(seen.rest or 0.0 for seen in sightings) > ELSEWHERE:
        return "target and result show different pictures"
    return "the frames do not show clearly whose face it is"
