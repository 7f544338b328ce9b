"""How soon the work of a benchmark could be done, for the durations that were drawn."""

from collections.abc import Sequence
from math import log
from statistics import NormalDist


def greedy(took: Sequence[float], *, in_flight: int, rate: float, median: float, sigma: float) -> float:
    """Seconds that a greedy rule needs without any latency, margin or learning: it knows the distribution (lognormal).

    At each of `rate` places a second: a submit while fewer than `in_flight` tasks run as far as it knows, else a poll
    of the task that has most likely ended since it was last seen running.
    """
    shape = NormalDist(log(median), sigma)

    def ended(age: float) -> float:
        return shape.cdf(log(age)) if age > 0.0 else 0.0

    running: dict[int, tuple[float, float]] = {}  # number -> when it began, the share that had ended when last seen
    submitted = places = 0
    while submitted < len(took) or running:
        now = places / rate
        places += 1
        if submitted < len(took) and len(running) < in_flight:
            running[submitted] = now, 0.0
            submitted += 1
            continue
        chances = {
            number: (ended(now - begun) - seen) / max(1.0 - seen, 1e-12) for number, (begun, seen) in running.items()
        }
        number = max(chances, key=lambda each: (chances[each], -each))
        begun, _ = running[number]
        if now >= begun + took[number]:
            del running[number]
        else:
            running[number] = begun, ended(now - begun)
    return (places - 1) / rate
