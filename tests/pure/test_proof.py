"""Decisions of the proof of swap: measures in, words out."""

from dataclasses import dataclass

import pytest

from batchswap.delivery.proof import decide, moments, outcome
from batchswap.delivery.proof.decide import FaceMeasures, Judgement, MeanDistances, Shows
from batchswap.delivery.proof.outcome import PersonJudged
from batchswap.states import Quality

SWAPPED = FaceMeasures(90, old=0.75, new=0.42, pair=0.75, change=0.2, rest=0.0)
ORIGINAL = FaceMeasures(90, old=0.15, new=0.75, pair=0.75, change=0.01, rest=0.0)
STRONGLY_COMPRESSED = FaceMeasures(90, old=0.58, new=0.75, pair=0.75, change=0.05, rest=0.01)
LESS_NEAR = FaceMeasures(90, old=0.75, new=0.7, pair=0.75, change=0.2, rest=0.0)
FAR = FaceMeasures(90, old=0.75, new=0.85, pair=0.75, change=0.2, rest=0.0)
GONE = FaceMeasures(90, pair=0.75, change=0.9, rest=0.0, is_gone=True)
TINY = FaceMeasures(18, old=0.6, new=0.6, pair=0.7, change=0.2, rest=0.0)
TINY_STILL = FaceMeasures(18, old=0.6, new=0.6, pair=0.7, change=0.01, rest=0.0)
OTHER_PICTURE = FaceMeasures(90, old=0.8, new=0.8, pair=0.75, change=0.9, rest=0.8)
LIKE_NEW, LIKE_OTHER, BETWEEN = MeanDistances(0.42, 0.72), MeanDistances(0.76, 0.77), MeanDistances(0.58, 0.7)
NOTHING = MeanDistances(None, None)


@dataclass(frozen=True)
class Example:
    seen: tuple[FaceMeasures, ...]
    mean: MeanDistances
    shows: Shows
    share: float | None


JUDGED = {
    "swapped": Example((SWAPPED,) * 12, LIKE_NEW, Shows.NEW, 1.0),
    "one still": Example((SWAPPED,), LIKE_NEW, Shows.NEW, 1.0),
    "one frame is missed": Example((*(SWAPPED,) * 11, ORIGINAL), LIKE_NEW, Shows.NEW, 11 / 12),
    "one of eight frames is missed": Example((*(SWAPPED,) * 7, ORIGINAL), LIKE_NEW, Shows.NEW, 7 / 8),
    "two of twelve frames are missed": Example((*(SWAPPED,) * 10, *(ORIGINAL,) * 2), LIKE_NEW, Shows.PARTLY, 10 / 12),
    "one of eight frames is swapped": Example((*(ORIGINAL,) * 7, SWAPPED), LIKE_NEW, Shows.OLD, 1 / 8),
    "half": Example((*(SWAPPED,) * 6, *(ORIGINAL,) * 6), LIKE_NEW, Shows.PARTLY, 0.5),
    "original": Example((ORIGINAL,) * 12, NOTHING, Shows.OLD, 0.0),
    "strongly compressed": Example((STRONGLY_COMPRESSED,) * 12, NOTHING, Shows.OLD, 0.0),
    "one frame is swapped": Example((*(ORIGINAL,) * 11, SWAPPED), LIKE_NEW, Shows.OLD, 1 / 12),
    "another person": Example((SWAPPED,) * 12, LIKE_OTHER, Shows.OTHER, 0.0),
    "half another person": Example((*(SWAPPED,) * 6, *(ORIGINAL,) * 6), LIKE_OTHER, Shows.OTHER, 0.0),
    "some frames are less near": Example((*(SWAPPED,) * 9, *(LESS_NEAR,) * 3), LIKE_NEW, Shows.NEW, 1.0),
    "some frames show another person": Example((*(SWAPPED,) * 9, *(FAR,) * 3), LIKE_NEW, Shows.PARTLY, 9 / 12),
    "between two people": Example((SWAPPED,) * 12, BETWEEN, Shows.UNCLEAR, None),
    "a part is between two people": Example((*(ORIGINAL,) * 9, *(SWAPPED,) * 3), BETWEEN, Shows.UNCLEAR, None),
    "nearer to the old face": Example((SWAPPED,) * 12, MeanDistances(0.54, 0.5), Shows.UNCLEAR, None),
    "the face is gone": Example((GONE,) * 12, NOTHING, Shows.GONE, 0.0),
    "half of the faces are gone": Example((*(ORIGINAL,) * 6, *(GONE,) * 6), NOTHING, Shows.GONE, 0.0),
    "tiny": Example((TINY,) * 12, LIKE_NEW, Shows.UNCLEAR, None),
    "tiny and the same picture": Example((TINY_STILL,) * 12, NOTHING, Shows.OLD, 0.0),
    "another picture": Example((OTHER_PICTURE,) * 12, LIKE_NEW, Shows.UNCLEAR, None),
    "a small change": Example(
        (FaceMeasures(90, old=0.5, new=0.5, pair=0.7, change=0.1, rest=0.0),) * 3, LIKE_NEW, Shows.UNCLEAR, None
    ),
    "as much as the rest": Example(
        (FaceMeasures(90, old=0.7, new=0.5, pair=0.7, change=0.2, rest=0.3),) * 3, LIKE_NEW, Shows.UNCLEAR, None
    ),
    "old and new look alike": Example(
        (FaceMeasures(90, old=0.6, new=0.3, pair=0.3, change=0.2, rest=0.0),) * 3, LIKE_NEW, Shows.UNCLEAR, None
    ),
    "some frames show nothing known": Example(
        (*(SWAPPED,) * 6, *(FaceMeasures(90, old=0.9, new=0.9, pair=0.75, change=0.9, rest=0.0),) * 6),
        *(LIKE_NEW, Shows.PARTLY, 0.5),
    ),
    "without the new face, the same picture": Example(
        (FaceMeasures(90, old=0.1, change=0.01, rest=0.0),) * 3, NOTHING, Shows.OLD, 0.0
    ),
    "without the new face, changed": Example(
        (FaceMeasures(90, old=0.8, change=0.3, rest=0.0),) * 3, MeanDistances(None, 0.8), Shows.UNCLEAR, None
    ),
    "without the target": Example((FaceMeasures(90, new=0.42),) * 3, MeanDistances(0.4, None), Shows.NEW, 1.0),
    "without the target, a part is far": Example(
        (*(FaceMeasures(90, new=0.42),) * 5, *(FaceMeasures(90, new=0.7),) * 4), MeanDistances(0.48, None), Shows.NEW, 1
    ),
    "without the target, far": Example(
        (FaceMeasures(90, new=0.55),) * 3, MeanDistances(0.52, None), Shows.UNCLEAR, None
    ),
    "without both": Example((FaceMeasures(90),) * 3, NOTHING, Shows.UNCLEAR, None),
}


@pytest.mark.parametrize("example", JUDGED.values(), ids=list(JUDGED))
def test_a_person_is_judged(example: Example) -> None:
    found = decide.judge(example.seen, example.mean)
    assert (found.shows, found.share) == (example.shows, example.share)
    assert (found.score is None) == (found.share is None)
    assert sum(found.counts.values()) == len(example.seen)


WHETHER_CHANGED = {
    "all": ((SWAPPED,) * 12, True),
    "half": ((*(SWAPPED,) * 6, *(ORIGINAL,) * 6), True),
    "none": ((ORIGINAL,) * 12, False),
    "one of twelve": ((*(ORIGINAL,) * 11, SWAPPED), False),
    "one, and another one is unclear": ((*(ORIGINAL,) * 10, SWAPPED, TINY), None),
    "half is unclear": ((*(ORIGINAL,) * 6, *(TINY,) * 6), None),
}


@pytest.mark.parametrize(("seen", "has_changed"), WHETHER_CHANGED.values(), ids=list(WHETHER_CHANGED))
def test_whether_a_person_changed(seen: tuple[FaceMeasures, ...], has_changed: bool | None) -> None:
    """It does not depend on who the new face is."""
    for mean in (LIKE_NEW, LIKE_OTHER, BETWEEN):
        assert decide.judge(seen, mean).has_changed is has_changed


def test_the_score_rises_with_the_share_and_the_nearness() -> None:
    half = (*(SWAPPED,) * 6, *(ORIGINAL,) * 6)
    scores = [
        decide.judge(seen, mean).score
        for seen, mean in (
            ((ORIGINAL,) * 12, NOTHING),
            (half, LIKE_NEW),
            ((SWAPPED,) * 12, MeanDistances(0.55, 0.56)),
            ((SWAPPED,) * 12, LIKE_NEW),
            ((SWAPPED,) * 12, MeanDistances(0.3, 0.8)),
        )
    ]
    known = [score for score in scores if score is not None]
    assert known == sorted(known)
    assert known[0] == 0.0
    assert 0.97 < known[-1] <= 1.0


DOUBTS = {
    "the picture of the new face cannot be had": FaceMeasures(90, old=0.8, change=0.3),
    "the face is 18 pixels wide": TINY,
    "without the target": FaceMeasures(90, new=0.6),
    "the old and the new face look alike": FaceMeasures(90, old=0.6, new=0.3, pair=0.3, change=0.2),
    "target and result show different pictures": OTHER_PICTURE,
    "the face changed, but": SWAPPED,
}


@pytest.mark.parametrize(("words", "seen"), DOUBTS.items(), ids=list(DOUBTS))
def test_a_doubt_has_its_reason(words: str, seen: FaceMeasures) -> None:
    assert decide.doubt((seen,) * 3).startswith(words)


CHANGED = {Shows.OLD: False, Shows.GONE: None, Shows.UNCLEAR: None}


def judgement(shows: Shows, has_changed: bool | None) -> Judgement:
    known = {Shows.NEW: 1.0, Shows.PARTLY: 0.5, Shows.UNCLEAR: None}.get(shows, 0.0)
    return Judgement(shows, known, known, {shows: 12}, has_changed)


def person(area: float, *shows: Shows, has_changed: bool | None = None) -> PersonJudged:
    changed = CHANGED.get(shows[0], True) if has_changed is None else has_changed
    return PersonJudged(area, tuple(judgement(each, changed) for each in shows), "a doubt")


SINGLE = {
    Shows.NEW: (Quality.SWAPPED, 1.0),
    Shows.PARTLY: (Quality.PARTLY, 0.5),
    Shows.OLD: (Quality.UNCHANGED, 0.0),
    Shows.OTHER: (Quality.PARTLY, 0.0),
    Shows.GONE: (Quality.NO_FACE, 0.0),
    Shows.UNCLEAR: (Quality.UNKNOWN, None),
}


@pytest.mark.parametrize("shows", Shows)
def test_one_person_decides(shows: Shows) -> None:
    found = outcome.decide([person(2, shows)], is_multi=False)
    assert (found.quality, found.share) == SINGLE[shows]
    assert found.reason


def test_no_person_is_no_face() -> None:
    for is_multi in (False, True):
        assert outcome.decide([], is_multi=is_multi).quality == Quality.NO_FACE


N, S, P, X, U = Shows.NEW, Shows.OLD, Shows.PARTLY, Shows.OTHER, Shows.UNCLEAR

PRIMARY = {
    "the other one stays": ([person(2, N), person(1, S)], Quality.SWAPPED),
    "the other one of nearly the same size": ([person(2, S), person(1.5, N)], Quality.SWAPPED),
    "a much smaller one": ([person(2, S), person(0.5, N)], Quality.UNCHANGED),
    "unclear, and the other one": ([person(2, U), person(1.5, P)], Quality.PARTLY),
    "unclear, and a much smaller one": ([person(2, U), person(0.5, N)], Quality.UNKNOWN),
    "both": ([person(2, N), person(1.5, N)], Quality.SWAPPED),
    "a third person": ([person(2, X), person(1.5, S)], Quality.PARTLY),
}


@pytest.mark.parametrize(("people", "quality"), PRIMARY.values(), ids=list(PRIMARY))
def test_the_primary_face_counts(people: list[PersonJudged], quality: Quality) -> None:
    assert outcome.decide(people, is_multi=False).quality == quality


CHOSEN = {
    "one of two": ([person(2, S, has_changed=False), person(1, N)], Quality.SWAPPED, 1.0),
    "both": ([person(2, N, X), person(1, X, N)], Quality.SWAPPED, 1.0),
    "both with the same new face": ([person(2, N, N), person(1, N, N)], Quality.SWAPPED, 1.0),
    "one new face twice instead of two": ([person(2, N, X), person(1, N, X)], Quality.PARTLY, 0.5),
    "one of two chosen": ([person(2, N, N), person(1, S, S)], Quality.PARTLY, 0.5),
    "one and a half": ([person(2, N, X), person(1, X, P)], Quality.PARTLY, 0.75),
    "one too many": ([person(2, N), person(1, N)], Quality.PARTLY, 1.0),
    "one is swapped, one became another person": ([person(2, N), person(1, X)], Quality.PARTLY, 1.0),
    "none": ([person(2, S), person(1, S)], Quality.UNCHANGED, 0.0),
    "another person": ([person(2, X), person(1, S)], Quality.PARTLY, 0.0),
    "the rest is unclear": ([person(2, N), person(1, U)], Quality.UNKNOWN, 1.0),
    "the rest is unclear and still": ([person(2, N), person(1, U, has_changed=False)], Quality.SWAPPED, 1.0),
    "the rest is unclear, but changed": ([person(2, N), person(1, U, has_changed=True)], Quality.PARTLY, 1.0),
    "the rest is gone": ([person(2, N), person(1, Shows.GONE)], Quality.PARTLY, 1.0),
    "the chosen one may be unclear": ([person(2, U), person(1, S)], Quality.UNKNOWN, None),
    "fewer people than chosen": ([person(2, N, N)], Quality.UNKNOWN, None),
}


@pytest.mark.parametrize(("people", "quality", "share"), CHOSEN.values(), ids=list(CHOSEN))
def test_each_chosen_face_counts(people: list[PersonJudged], quality: Quality, share: float | None) -> None:
    found = outcome.decide(people, is_multi=True)
    assert (found.quality, found.share) == (quality, share)


def test_moments_are_in_order_and_cover_the_clip() -> None:
    found = moments.choose(12.0, [(0.0,), (0.0,)], 12)
    assert len(found) == 12
    assert all(number <= moment < number + 1 for number, moment in enumerate(found))


def test_a_moment_shortly_after_a_keyframe_is_cheapest() -> None:
    result, target = (0.0, 2.5, 5.2), (0.0, 2.5, 8.0)
    second, third, fourth = moments.choose(8.0, (result, target), 4)[1:]
    assert second == pytest.approx(2.5 + moments.BEHIND)
    assert third == pytest.approx(5.2 + moments.BEHIND)
    assert moments.lag(fourth, result) + moments.lag(fourth, target) <= moments.lag(7.0, result) + moments.lag(
        7.0, target
    )


def test_without_keyframes_the_middle_is_chosen() -> None:
    assert moments.choose(4.0, ((), ()), 2) == (1.0, 3.0)
    assert moments.choose(0.0, ((0.0,),), 2) == (0.0, 0.0)


def test_large_frames_are_looked_at_less_often() -> None:
    assert moments.count_for(640 * 480) == 12
    assert moments.count_for(1280 * 720) == 10
    assert moments.count_for(3840 * 2160) == 8
