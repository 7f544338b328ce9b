"""Choose the moments of a clip to look at, so that little has to be decoded. Pure."""

from bisect import bisect_right
from collections.abc import Sequence

COUNTS = ((500_000, 12), (1_500_000, 10))
"""Moments of a clip whose frames have at most so many pixels. Larger frames take longer to decode."""
FEWEST = 8
"""Moments of a clip with still larger frames."""
BEHIND = 0.08
"""Seconds. A moment this long after a keyframe shows the same shot in a copy that is a frame late."""


def count_for(pixels: int) -> int:
    """Return the number of moments for frames of so many pixels."""
    return next((count for most, count in COUNTS if pixels <= most), FEWEST)


def choose(seconds: float, keys: Sequence[Sequence[float]], count: int) -> tuple[float, ...]:
    """Return one moment in each of `count` equal parts of a clip, in order.

    `keys` are the times of the keyframes of each file, in order. All frames between a keyframe and the moment have to
    be decoded, so a moment shortly after a keyframe is the cheapest. The middle of the part wins a tie.
    """
    part = seconds / count
    return tuple(_cheapest(number * part, (number + 1) * part, keys) for number in range(count))


def _cheapest(start: float, end: float, keys: Sequence[Sequence[float]]) -> float:
    middle = (start + end) / 2
    after = (
        key + BEHIND for file in keys for key in file[bisect_right(file, start - BEHIND) : bisect_right(file, end)]
    )
    return min(
        [middle, *(moment for moment in after if start <= moment < end)],
        key=lambda moment: (sum(lag(moment, file) for file in keys), abs(moment - middle)),
    )


def lag(moment: float, keys: Sequence[float]) -> float:
    """Return the seconds since the last keyframe; 0 if no keyframes are known."""
    before = bisect_right(keys, moment)
    return moment - keys[before - 1] if before else 0.0
