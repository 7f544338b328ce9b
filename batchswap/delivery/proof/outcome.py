"""Decide on a whole result from the judgements on its people. Pure: no I/O, no NumPy."""

from collections.abc import Sequence
from statistics import fmean

import msgspec

from batchswap.delivery.proof.decide import Judgement, Shows
from batchswap.states import Quality

RIVAL = 0.5
"""A face of at least this part of the largest one's area may be the one that a swap of one face takes."""

WORDS = {
    Shows.NEW: "the face is nearer to the new face than to the old one",
    Shows.PARTLY: "the face is swapped in a part of the frames only",
    Shows.OLD: "the face is still the old one",
    Shows.OTHER: "the face changed, but into another person than the new face",
    Shows.GONE: "the result shows no face where the target shows one",
}
QUALITIES = {
    Shows.NEW: Quality.SWAPPED,
    Shows.PARTLY: Quality.PARTLY,
    Shows.OLD: Quality.UNCHANGED,
    Shows.OTHER: Quality.PARTLY,
    Shows.GONE: Quality.NO_FACE,
    Shows.UNCLEAR: Quality.UNKNOWN,
}
"""Another person is `partly` with share 0: the face is not unchanged, not the new one, and the user has to look."""


class PersonJudged(msgspec.Struct, frozen=True):
    """A person with its judgement for each new face, and why a judgement may be unclear."""

    area: float
    judgements: tuple[Judgement, ...]
    doubt: str = ""


class SwapDecision(msgspec.Struct, frozen=True):
    """The decision on a result, with the reason in plain words."""

    quality: Quality
    reason: str
    share: float | None = None
    score: float | None = None


def decide(people: Sequence[PersonJudged], *, is_multi: bool) -> SwapDecision:
    """Decide on a result. The person with the largest area comes first."""
    if not people:
        return SwapDecision(Quality.NO_FACE, "no face was found in the frames", None, 0.0)
    return _chosen(people) if is_multi else _primary(people)


def _primary(people: Sequence[PersonJudged]) -> SwapDecision:
    """Decide on a swap of one face: the largest one, or another one of nearly its size."""
    first = people[0]
    swapped = [each for each in people[1:] if each.judgements[0].shows in (Shows.NEW, Shows.PARTLY)]
    if first.judgements[0].shows in (Shows.OLD, Shows.UNCLEAR) and swapped:
        other = max(swapped, key=lambda each: each.area)
        if other.area >= RIVAL * first.area:
            return _of(other, other.judgements[0])
        if first.judgements[0].shows == Shows.OLD:
            found = _of(first, first.judgements[0])
            return SwapDecision(
                found.quality, "the largest face is still the old one; a smaller one is swapped", 0.0, found.score
            )
    return _of(first, first.judgements[0])


def _of(person: PersonJudged, found: Judgement) -> SwapDecision:
    reason = WORDS.get(found.shows) or person.doubt
    return SwapDecision(QUALITIES[found.shows], reason, found.share, found.score)


def _chosen(people: Sequence[PersonJudged]) -> SwapDecision:
    """Decide on chosen faces. Their ids do not tell who they are, so any person may have any of the new faces.

    As many people as were chosen must show another new face each, and the rest must be unchanged.
    """
    count = len(people[0].judgements)
    if len(people) < count:
        return SwapDecision(Quality.UNKNOWN, f"only {len(people)} of the {count} chosen faces were found in the frames")
    matched = _match(people)
    rest = [person for number, person in enumerate(people) if number not in matched]
    found = [people[number].judgements[face] for number, face in matched.items()]
    others = [_rest(person) for person in rest]
    shares = [each.share or 0.0 for each in found] + [0.0] * (count - len(found))
    scores = [each.score or 0.0 for each in found] + [0.0] * (count - len(found))
    share, score = fmean(shares), fmean(scores)
    unsure = [person.doubt for person, shows in zip(rest, others, strict=True) if shows == Shows.UNCLEAR]
    wrong = sum(shows not in (Shows.OLD, Shows.UNCLEAR) for shows in others)
    complete = sum(each.shows == Shows.NEW for each in found)
    if complete == count:
        if wrong:
            return SwapDecision(Quality.PARTLY, "a face that was not chosen changed too", share, score)
        if unsure:
            return SwapDecision(
                Quality.UNKNOWN, f"a face that was not chosen may have changed: {unsure[0]}", share, score
            )
        return SwapDecision(
            Quality.SWAPPED, "each chosen face is nearer to its new face than to the old one", share, score
        )
    if unsure and complete + len(unsure) >= count:
        return SwapDecision(Quality.UNKNOWN, unsure[0], None, None)
    if found or wrong:
        return SwapDecision(Quality.PARTLY, f"{complete} of {count} chosen faces are swapped", share, score)
    return SwapDecision(Quality.UNCHANGED, "the faces are still the old ones", 0.0, score)


def _match(people: Sequence[PersonJudged]) -> dict[int, int]:
    """Pair people with new faces, the clearest swaps first."""
    rated = [
        (-(each.share or 0.0), -(each.score or 0.0), number, face)
        for number, person in enumerate(people)
        for face, each in enumerate(person.judgements)
        if each.shows in (Shows.NEW, Shows.PARTLY)
    ]
    found: dict[int, int] = {}
    for *_, number, face in sorted(rated):
        if number not in found and face not in found.values():
            found[number] = face
    return found


def _rest(person: PersonJudged) -> Shows:
    """Return what a person shows that has no new face: OLD, OTHER, GONE or UNCLEAR."""
    first = person.judgements[0]
    if first.has_changed is None:
        return Shows.GONE if first.shows == Shows.GONE else Shows.UNCLEAR
    return Shows.OTHER if first.has_changed else Shows.OLD
