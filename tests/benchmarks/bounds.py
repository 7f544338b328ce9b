"""Lower bounds for the makespan of a benchmark with its drawn durations."""

from collections.abc import Sequence
from math import log
from statistics import NormalDist


def greedy(took: Sequence[float], *, in_flight: int, rate: float, median: float, sigma: float) -> float:
    """Return the seconds of a greedy rule without latency or margin, and with a known distribution (lognormal).

    At each of `rate` places per second, it submits while fewer than `in_flight` tasks seem to run. Otherwise it polls
    the task that has most likely ended since its last poll.
    """
    shape = NormalDist(log(median), sigma)

    def ended(age: float) -> float:
        return shape.cdf(log(age)) if age > 0.0 else 0.0

    running: dict[int, tuple[float, float]] = {}  # by number: its start, and the share ended at its last poll
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
