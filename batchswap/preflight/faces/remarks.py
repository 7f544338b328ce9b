"""What a look at a target's faces says, in words."""

from collections.abc import Iterator

from batchswap.local.engine import FaceSurvey

SMALL = 0.04
"""Width of a face in relation to the picture, under which a swap may fail or not be seen."""
FAR_APART = 5.0
"""Seconds between two frames from which a clip counts as only sampled."""
SIDES = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
WORDS = {1: "on its side", 2: "upside down", 3: "on its side"}


def no_face(name: str, survey: FaceSurvey, *, is_free: bool = False) -> str:
    """Return the problem of a target without a face. `is_free`: a swap costs nothing."""
    gap = survey.seconds / max(1, survey.frames)
    seen = f" ({survey.frames} frames were looked at, one every {gap:.0f} s)" if gap >= FAR_APART else ""
    return f"no face found in {name}{seen}: it would {'fail' if is_free else 'be paid for without a swap'}"


def remarks(name: str, survey: FaceSurvey, *, is_primary: bool) -> Iterator[str]:
    """Yield remarks on a target with a face. `is_primary`: its primary face is swapped, and not chosen faces."""
    if survey.share < SMALL:
        yield (
            f"the largest face in {name} is {percent(survey.share)} of the width, less than {percent(SMALL)}:"
            " a swap may fail or not be visible"
        )
    if survey.at_once > 1 and is_primary:
        yield (
            f"{name} shows {survey.at_once} faces at once: the largest is {percent(survey.share)} of the width, and a"
            f" swap of the primary face takes the one {SIDES[survey.place]}{moment(survey)}; `faces` in the manifest"
            " chooses others"
        )
    if survey.turns:
        yield f"{name} is {WORDS[survey.turns]}: turn it, because a swap may fail"


def moment(survey: FaceSurvey) -> str:
    """Return from when on the primary face was seen; "" for a still."""
    if survey.kind == "image":
        return ""
    if survey.since <= max(1.0, survey.seconds / 8):
        return ", from the start"
    minutes, seconds = divmod(int(survey.since), 60)
    hours, minutes = divmod(minutes, 60)
    return f", from {hours}:{minutes:02}:{seconds:02} on" if hours else f", from {minutes}:{seconds:02} on"


def percent(share: float) -> str:
    """Return a share as a percentage, with a decimal below 10 %."""
    return f"{100 * share:.{0 if share >= 0.1 else 1}f}".removesuffix(".0") + " %"
