"""Examine results whose truth is known, and count what the proof of the swap makes of them.

`python -m tests.benchmarks.bench_proof [GROUP…]` prints the confusion table and each wrong case. The thresholds were
chosen with the groups of TUNED; the others show what they are worth. Two processes share the groups.
"""

import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from batchswap.delivery.examination import Examination, FaceInput
from batchswap.delivery.proof import examine
from batchswap.states import Quality
from tests.benchmarks import labelled_results
from tests.benchmarks.bench_engine import frames, seconds
from tests.benchmarks.labelled_results import NO_FACE, PARTLY, RATE, SWAPPED, UNCHANGED, WRONG, Coded, write
from tests.benchmarks.table import Goal, at_least, at_most

PERCENT = 100
TUNED = (
    *("man", "man turning", "man, 60 pixels", "anna", "grace", "anna, half profile", "grace, half profile"),
    *("anna, profile", "anna, dark", "grace, a hand", "duo"),
)
RIGHT = {
    SWAPPED: (Quality.SWAPPED,),
    PARTLY: (Quality.PARTLY,),
    UNCHANGED: (Quality.UNCHANGED,),
    NO_FACE: (Quality.NO_FACE,),
    WRONG: (Quality.PARTLY, Quality.UNKNOWN),
}
SECONDS, SHOWN, ROUNDS = 10, 25, 3
"""The timed clip shows SHOWN different frames to and fro. It is examined ROUNDS times, and the best time counts."""
SHARES = (0.15, 0.85)
"""Bounds of the share in the half-swapped clips, of which 30 to 70 % are swapped."""


class Finding(NamedTuple):
    """What was found about one case."""

    group: str
    name: str
    truth: str
    quality: Quality
    is_right: bool
    may_be_unknown: bool
    evidence: str


def look(group: str) -> list[Finding]:
    """Render the cases of a group and examine each one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cast = labelled_results.make_cast(folder / "cast")
        (folder / "cases").mkdir()
        return [judge(group, case) for case in labelled_results.RENDERS[group](cast, folder / "cases")]


def judge(group: str, case: labelled_results.Case) -> Finding:
    found = examine(Examination(case.result, case.kind, case.target, case.faces, case.is_multi))
    right = found.quality in RIGHT[case.truth] or (case.may_be_unknown and found.quality == Quality.UNKNOWN)
    if case.truth == PARTLY and found.quality == Quality.PARTLY and not case.is_multi:
        right = found.share is not None and SHARES[0] <= found.share <= SHARES[1]
    if case.truth == WRONG and found.quality == Quality.PARTLY:
        right = found.share == 0
    return Finding(
        group, case.name, case.truth, found.quality, right, case.may_be_unknown, f"{found.share} {found.evidence}"
    )


def find(groups: Sequence[str]) -> list[Finding]:
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as workers:
        found = []
        for each in workers.map(look, groups):
            found += each
            print(f"{each[0].group}: {sum(one.is_right for one in each)} of {len(each)} right", flush=True)
        return found


def time_long() -> float:
    """Return the seconds for a clip of 10 seconds on one core, in a process that has examined one before."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cast = labelled_results.make_cast(folder / "cast")
        some = list(islice(frames(cast.anna, SHOWN), SHOWN))
        shown = (some + some[::-1]) * (SECONDS * RATE // (2 * SHOWN))
        target, result = (write(folder / f"{crf}.mp4", shown, Coded(crf)) for crf in (20, 26))
        job = Examination(result, "video", target, (FaceInput(cast.faces["grace"]),), strip=folder / "strip.webp")
        return min([seconds(lambda: examine(job)) for _ in range(1 + ROUNDS)][1:])


def table(found: Sequence[Finding]) -> Iterator[str]:
    """Yield the confusion table."""
    counts = Counter((each.truth, each.quality) for each in found)
    yield "| truth | " + " | ".join(quality.words for quality in Quality) + " | right |"
    yield "| --- |" + " --- |" * (len(Quality) + 1)
    for truth in RIGHT:
        ours = [each for each in found if each.truth == truth]
        cells = [str(counts[truth, quality]) for quality in Quality]
        yield f"| {truth} | {' | '.join(cells)} | {sum(each.is_right for each in ours)} of {len(ours)} |"


def main(groups: Sequence[str] = tuple(labelled_results.RENDERS)) -> list[Goal]:
    found = find(groups)
    print(*table(found), sep="\n")
    for each in found:
        if not each.is_right:
            print(f"wrong: {each.group}: {each.truth} -> {each.quality}: {each.name} {each.evidence}")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        long = worker.submit(time_long).result()
    unseen = [each for each in found if each.group not in TUNED]
    rate, rate_unseen = (PERCENT * sum(each.is_right for each in some) / max(1, len(some)) for some in (found, unseen))
    false = sum(each.quality == Quality.SWAPPED for each in found if each.truth != SWAPPED)
    unknown = sum(each.quality == Quality.UNKNOWN for each in found)
    return [
        at_most(f"results that are not swaps and are called swapped, of {len(found)}", false, 0),
        at_least(
            "results of a known truth that are judged right",
            *(rate, 95, " %", f" ({rate_unseen:.4g} % of the groups that no threshold was chosen with)"),
        ),
        at_most("results that are called unknown", PERCENT * unknown / len(found), 15, " %"),
        at_most("to examine a clip of 10 seconds, 1280 × 720, on one core", long, 1.5, " s"),
    ]


if __name__ == "__main__":
    print(*main(sys.argv[1:] or tuple(labelled_results.RENDERS)), sep="\n")
