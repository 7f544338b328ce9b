"""The speed of reading manifests, compared with the bare parsers on the same files in the same run.

`python -m tests.benchmarks.manifests [ROWS]` makes the files (seeded), reads them and prints ratios.
"""

import csv
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from batchswap.manifest import Source, check

SEED = 7
ROWS = 1_000_000
YAML_TASKS = 100_000


def write_csv(path: Path, rows: int = ROWS, seed: int = SEED) -> None:
    """Write id, video, face, consent and tags: 138 bytes per row, 200 faces, 50 releases."""
    dice = random.Random(seed)
    tags = ["de;hero", "en", "fr;hero;spring", ""]
    with path.open("w", encoding="utf-8") as file:
        file.write("id,video,face,consent,tags\n")
        for number in range(rows):
            video = f"https://media.example.com/spring-2026/c/{dice.getrandbits(40):010x}/clip-{number:07}.mp4"
            face = f"https://cdn.example.com/faces/{dice.randrange(200):03}.jpg"
            file.write(f"clip-{number:07},{video},{face},release-{dice.randrange(50):03},{dice.choice(tags)}\n")


def write_yaml(path: Path, tasks: int = YAML_TASKS, seed: int = SEED) -> None:
    """Write one flow mapping per line."""
    dice = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        file.write("name: spring\ndefaults: {face: https://cdn.example.com/anna.jpg, consent: release-114}\ntasks:\n")
        for number in range(tasks):
            video = f"https://media.example.com/{dice.getrandbits(40):010x}/clip-{number:06}.mp4"
            file.write(f"  - {{id: clip-{number:06}, video: {video}, tags: [de, hero]}}\n")


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of this process, because other work on the machine must not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def bare_csv(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for _ in csv.reader(file):
            pass


def bare_yaml(path: Path) -> None:
    with path.open("rb") as file:
        yaml.load(file, Loader=yaml.CSafeLoader)


def peak_megabytes(path: Path) -> float:
    """Return the peak memory of a process that only reads. VmHWM, because ru_maxrss is inherited from the parent."""
    code = (
        "import sys; from batchswap.manifest import Source, check; check([Source(sys.argv[1])]);"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    return int(done.stdout) / 1024


def report(path: Path, rows: int, bare: Callable[[Path], None]) -> str:
    own = seconds(lambda: check([Source(str(path))]))
    peer = seconds(lambda: bare(path))
    return (
        f"{path.name}: {rows:,} rows, {path.stat().st_size / 1e6:.0f} MB: {rows / own:,.0f} rows/s, bare parser "
        f"{rows / peer:,.0f} rows/s (ratio {peer / own:.2f}), peak {peak_megabytes(path):.0f} MB"
    )


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        table, document = Path(folder, "rows.csv"), Path(folder, "tasks.yaml")
        write_csv(table, rows)
        print(report(table, rows, bare_csv))
        write_yaml(document, rows // 10)
        print(report(document, rows // 10, bare_yaml))


if __name__ == "__main__":
    main()
