"""Media and swaps that several tests share, made once."""

from pathlib import Path

import pytest

from batchswap.local.engine import SwapJob, SwapReport, swap
from manifests.demo_media import Media, make
from tests.benchmarks.bench_engine import transcode
from tests.engine.landmarks import Pixels, Seen, frames, see


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return make(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def carphone(media: Media, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SwapReport]:
    """The talking head with Anna's face."""
    output = tmp_path_factory.mktemp("carphone") / "swapped.mp4"
    return output, swap(SwapJob(media.carphone, output, ((None, media.anna),), label="task-7"))


@pytest.fixture(scope="session")
def portrait(media: Media, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SwapReport]:
    """The portrait in motion, which has sound, with Grace's face."""
    output = tmp_path_factory.mktemp("portrait") / "swapped.mp4"
    return output, swap(SwapJob(media.portrait, output, ((None, media.grace),)))


@pytest.fixture(scope="session")
def before(media: Media) -> Seen:
    """The talking head before the swap."""
    return see(media.carphone)


@pytest.fixture(scope="session")
def after(carphone: tuple[Path, SwapReport]) -> Seen:
    """The talking head with Anna's face."""
    return see(carphone[0])


@pytest.fixture(scope="session")
def plain(media: Media, tmp_path_factory: pytest.TempPathFactory) -> list[Pixels]:
    """The talking head decoded and encoded by the same codecs without a swap: it shows only their noise."""
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    transcode(media.carphone, path)
    return frames(path)
