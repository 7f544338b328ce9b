"""Goal 4: tasks a second when the API is no limit, every transition durable, beside the bare loop that records nothing.

`python -m tests.benchmarks.bench_durable [TASKS]`. In turn, several times; the median ratio counts.
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.contest import Popen, batchswap, script, serving, told
from tests.benchmarks.server import Plan
from tests.benchmarks.table import Goal, at_least

TASKS = 1000
ROUNDS = 3
WORKERS = 32
GOAL = 0.6
FLAGS = ("--rate", "none", "--workers", str(WORKERS), "--in-flight", "100", "--downloads", "16")


class Pace(NamedTuple):
    """Wall-clock and processor time a task, in milliseconds."""

    wall: float
    processor: float


def time_of(process: Popen, url: str, tasks: int) -> Pace:
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Pace(told(url)["seconds"] / tasks * 1e3, (used.ru_utime + used.ru_stime) / tasks * 1e3)


def pair(tasks: int) -> tuple[Pace, Pace]:
    """The bare loop and the real run, one after the other."""
    plan = Plan(limit=None, kind="none")
    with serving(plan) as url:
        bare = time_of(script("bare", url, tasks, workers=WORKERS), url, tasks)
    with tempfile.TemporaryDirectory() as folder, serving(plan) as url:
        own = time_of(batchswap(Path(folder) / "a", url, tasks, *FLAGS), url, tasks)
    return bare, own


def main(tasks: int = TASKS) -> list[Goal]:
    found = [pair(tasks) for _ in range(ROUNDS)]
    bare, own = (median(1e3 / each[side].wall for each in found) for side in (0, 1))
    used = median(each[1].processor for each in found), median(each[0].processor for each in found)
    detail = f" ({own:.0f} and {bare:.0f} tasks a second; {used[0]:.2f} and {used[1]:.2f} ms of processor a task)"
    ratio = median(bare.wall / own.wall for bare, own in found)
    return [at_least("durable tasks a second, × a bare aiohttp loop", ratio, GOAL, "", detail)]


if __name__ == "__main__":
    print(*main(*map(int, sys.argv[1:])), sep="\n")
