"""Goal 7: the start of the commands, compared with `python -c pass`.

`python -m tests.benchmarks.bench_start` runs them in turn, many times. The median counts.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from batchswap.ledger.file import connection
from tests.benchmarks.table import Goal, at_most

ROUNDS = 15
SCRIPT = str(Path(sys.executable).with_name("batchswap"))


def seconds(command: Sequence[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> list[Goal]:
    commands = {"python": [sys.executable, "-c", "pass"], "help": [SCRIPT, "--help"], "status": [SCRIPT, "status"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        connection.create(folder / "batchswap.db")
        rounds = [{what: seconds(command, folder) for what, command in commands.items()} for _ in range(ROUNDS)]
    bare, help_, status = (median(each[what] for each in rounds) for what in commands)
    return [
        at_most("`batchswap --help`", help_, 0.25, " s", f" ({help_ / bare:.1f} × `python -c pass`)"),
        at_most("`batchswap status`, empty ledger", status, 0.35, " s", f" ({status / bare:.1f} ×)"),
        at_most("the slower of the two, × `python -c pass`", max(help_, status) / bare, 8.0),
    ]


if __name__ == "__main__":
    print(*main(), sep="\n")
