"""Compare the engine with the plain transcode: same clip, decoder, encoder and settings, but no swap.

The swap runs in a worker process, as in the local provider. The start of the process does not count.

`python -m tests.benchmarks.bench_engine [--frames N]`: 1280x720, one face. Both run three times in turn. The best time
of each counts, so a busy machine favours neither.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np

from batchswap.local.engine import SwapJob, check_usable, swap
from batchswap.local.engine.media.writer import ENCODER
from manifests.demo_media import Portrait, make, read_anna, view, write_video
from manifests.pixels import Pixels

GOAL = 3.0
ROUNDS = 3


def frames(portrait: Portrait, count: int) -> Iterator[Pixels]:
    """Yield a head that moves and turns, with a little noise like that of a camera."""
    dice = np.random.default_rng(1)
    for number in range(count):
        moment = number / 25
        centre = (640 + 90 * np.sin(1.1 * moment), 330 + 20 * np.sin(1.9 * moment))
        picture = view(
            portrait, (1280, 720), centre=centre, width=250, tilt=6 * np.sin(moment), turn=0.05 * np.sin(2 * moment)
        )
        yield np.clip(picture + dice.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def transcode(source: Path, target: Path) -> None:
    """Decode and encode without any change."""
    with av.open(str(source)) as reader, av.open(str(target), "w", options={"movflags": "+faststart"}) as writer:
        video = reader.streams.video[0]
        video.thread_type = "AUTO"
        copy = writer.add_stream("libx264", rate=video.average_rate, options=ENCODER)
        copy.width, copy.height, copy.pix_fmt = video.width, video.height, "yuv420p"
        copy.codec_context.thread_count = 0
        for frame in reader.decode(video):
            frame.pict_type = 0
            writer.mux(copy.encode(frame))
        writer.mux(copy.encode(None))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(clip: Path, face: Path, folder: Path) -> tuple[float, float]:
    """Return the best times of the plain transcode and of the swap, in seconds."""
    job = SwapJob(clip, folder / "swapped.mp4", ((None, face),))
    plain, whole = [], []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        assert not worker.submit(check_usable).result(600)
        for _ in range(ROUNDS):
            plain.append(seconds(lambda: transcode(clip, folder / "plain.mp4")))
            whole.append(seconds(lambda: worker.submit(swap, job).result(600)))
    return min(plain), min(whole)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=250)
    count = options.parse_args().frames
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        media = make(folder / "media")
        clip = folder / "clip.mp4"
        write_video(clip, frames(read_anna(media.anna), count))
        plain, whole = measure(clip, media.grace, folder)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    ratio = whole / plain
    print(f"{platform.machine()}, {os.cpu_count()} cores, av {av.__version__}, {count} frames 1280x720, one face")
    print(f"plain transcode  {plain:6.2f} s  {1000 * plain / count:6.1f} ms a frame")
    print(f"face swap        {whole:6.2f} s  {1000 * whole / count:6.1f} ms a frame, peak memory {memory:.0f} MB")
    print(f"ratio            {ratio:6.2f}    goal {GOAL}: {'reached' if ratio <= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
