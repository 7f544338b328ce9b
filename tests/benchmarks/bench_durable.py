"""Goal 4: tasks per second with an API without limits and with every transition durable.

The comparisons are a bare loop that records nothing, and the same loop with the smallest record that is as durable,
which shows the cost of durability.

`python -m tests.benchmarks.bench_durable [TASKS]` runs them in turn, several times. The median ratio counts.
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.contest import batchswap, script, server_report, serving
from tests.benchmarks.server import Plan
from tests.benchmarks.table import Goal, at_least
from tests.processes import Process

TASKS = 1500
ROUNDS = 3
WORKERS = 32
GOAL = 0.6
FLAGS = ("--rate", "none", "--workers", str(WORKERS), "--in-flight", "100", "--downloads", "16")


class Pace(NamedTuple):
    """Wall-clock and processor time per task, in milliseconds."""

    wall: float
    processor: float


def time_of(process: Process, url: str, tasks: int) -> Pace:
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Pace(server_report(url)["seconds"] / tasks * 1e3, (used.ru_utime + used.ru_stime) / tasks * 1e3)


def trio(tasks: int, folder: Path) -> tuple[Pace, Pace, Pace]:
    """Measure the bare loop, the same with a record, and the real run, one after the other."""
    plan = Plan(limit=None, kind="none")
    with serving(plan) as url:
        bare = time_of(script("bare", url, tasks, workers=WORKERS), url, tasks)
    (folder / "recording").mkdir(parents=True)
    with serving(plan) as url:
        record = str(folder / "recording")
        recording = time_of(script("recording", url, tasks, workers=3 * WORKERS, folder=record), url, tasks)
    with serving(plan) as url:
        own = time_of(batchswap(folder / "own" / "a", url, tasks, *FLAGS), url, tasks)
    return bare, recording, own


def main(tasks: int = TASKS) -> list[Goal]:
    # One folder until the end: after the deletion of thousands of files, ext4 creates new ones ten times more slowly.
    with tempfile.TemporaryDirectory() as folder:
        found = [trio(tasks, Path(folder) / str(number)) for number in range(ROUNDS)]
    bare, recording, own = (median(1e3 / each[side].wall for each in found) for side in range(3))
    used = [median(each[side].processor for each in found) for side in range(3)]
    detail = f" ({own:.0f} and {bare:.0f} tasks a second; {used[2]:.2f} and {used[0]:.2f} ms of processor a task)"
    whole = median(bare.wall / own.wall for bare, _, own in found)
    part = median(recording.wall / own.wall for _, recording, own in found)
    bound = median(bare.wall / recording.wall for bare, recording, _ in found)
    return [
        at_least("durable tasks a second, × a bare aiohttp loop", whole, GOAL, "", detail),
        at_least(
            "the same, × that loop with the least durable record",
            part,
            GOAL,
            "",
            f" ({recording:.0f} tasks a second, {bound:.2f} × the bare loop)",
        ),
    ]


if __name__ == "__main__":
    print(*main(*map(int, sys.argv[1:])), sep="\n")
