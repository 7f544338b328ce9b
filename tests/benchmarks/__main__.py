"""Run all benchmarks and print the table of goals: `make bench`. It takes about fourteen minutes.

The ratios are steadier on an idle machine.
"""

import subprocess
import sys
import time
from collections.abc import Callable

from tests.benchmarks import (
    bench_durable,
    bench_limit,
    bench_proof,
    bench_quality,
    bench_report,
    bench_rows,
    bench_sign,
    bench_start,
)
from tests.benchmarks.table import Goal, at_most, machine, markdown

ENGINE_FRAMES = 100


def engine() -> list[Goal]:
    """Measure goal 6 with the engine's own benchmark in a separate process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_engine", "--frames", str(ENGINE_FRAMES)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout.splitlines()
    ratio = next(line.split() for line in lines if line.startswith("ratio"))
    swap = next(line.split() for line in lines if line.startswith("face swap"))
    what = "local engine, 1280 × 720, one face, × the plain transcode"
    return [at_most(what, float(ratio[1]), 3.0, "", f" ({swap[4]} ms a frame)")]


BENCHES: tuple[Callable[[], list[Goal]], ...] = (
    bench_start.main,
    bench_durable.main,
    engine,
    bench_quality.main,
    bench_proof.main,
    bench_rows.main,
    bench_report.main,
    bench_sign.main,
    bench_limit.main,
)


def main() -> None:
    print(machine())
    print(f"seeds {bench_limit.SEEDS}, {time.strftime('%Y-%m-%d')}", flush=True)
    goals: list[Goal] = []
    for bench in BENCHES:
        start = time.monotonic()
        goals += (found := bench())
        print(*found, sep="\n")
        print(f"{bench.__module__.rpartition('.')[2]}.{bench.__name__}: {time.monotonic() - start:.0f} s", flush=True)
    print(*markdown(goals), sep="\n")
    print(f"{sum(each.met for each in goals)} of {len(goals)} goals met")


if __name__ == "__main__":
    main()
