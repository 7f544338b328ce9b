"""A clip lasts from its first frame to its last one for any start of its clock; picture and sound stay in sync."""

from pathlib import Path

import av
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, probe, swap
from manifests.demo_media import Media, read_anna, view
from tests.engine import landmarks
from tests.engine.landmarks import Pixels
from tests.engine.variants import Variant, write

COUNT = 25
HOUR = 3600 * 600
"""In units of the time stamps."""


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    """Return a second of Anna."""
    anna = read_anna(media.anna)
    pictures = (view(anna, (320, 240), centre=(150 + n, 120), width=110) for n in range(COUNT))
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]


def starts(path: Path) -> tuple[float, float]:
    """Return the start of picture and sound in seconds: the earliest time stamp of each."""
    found: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                found[packet.stream.type].append(float(packet.pts * packet.time_base))
    return min(found["video"]), min(found["audio"])


def seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


LATE = [
    Variant(ending="mkv", sound="aac"),
    Variant(ending="mkv", sound="pcm_s16le"),
    Variant(ending="webm", codec="libvpx"),
    Variant(ending="flv", sound="aac"),
    Variant(ending="mov", sound="aac"),
    Variant(ending="ts", sound="aac"),
    Variant(ending="wmv", codec="wmv2"),
]


@pytest.mark.parametrize("variant", LATE, ids=lambda variant: f"{variant.ending}-{variant.sound}")
def test_a_clock_that_starts_late_is_set_to_zero(
    tmp_path: Path, frames: list[Pixels], media: Media, variant: Variant
) -> None:
    """Parts of live recordings have such clocks. The price is per second, so the duration matters too."""
    stamps = range(HOUR, HOUR + 24 * COUNT, 24)
    clip = write(tmp_path / "clip", frames, Variant(**{**vars(variant), "stamps": stamps}))
    assert 0.9 < probe(clip, "video").duration_s < 1.1
    output = tmp_path / "swapped.mp4"
    report = swap(SwapJob(clip, output, ((None, media.grace),), threads=1))
    assert (report.frames, report.swapped_frames) == (COUNT, COUNT)
    assert landmarks.times(output) == pytest.approx(landmarks.times(clip), abs=0.002)
    assert seconds(output) < 1.3
    if variant.sound:
        before, after = starts(clip), starts(output)
        assert abs(min(after)) < 0.1
        assert after[1] - after[0] == pytest.approx(before[1] - before[0], abs=0.07)  # the lead-in of an encoder


@pytest.mark.parametrize("shift", [-300, 300])
def test_sound_keeps_its_distance_to_the_picture(
    tmp_path: Path, frames: list[Pixels], media: Media, shift: int
) -> None:
    stamps = range(HOUR, HOUR + 24 * COUNT, 24)
    clip = write(tmp_path / "clip", frames, Variant(ending="mkv", sound="aac", stamps=stamps, sound_at=HOUR + shift))
    output = tmp_path / "swapped.mp4"
    swap(SwapJob(clip, output, ((None, media.grace),), threads=1))
    before, after = starts(clip), starts(output)
    assert abs(before[1] - before[0]) > 0.4
    assert after[1] - after[0] == pytest.approx(before[1] - before[0], abs=0.005)


def test_a_pause_in_the_middle_is_kept_and_counts(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    stamps = [HOUR + 24 * n + (1800 if n > 12 else 0) for n in range(COUNT)]
    clip = write(tmp_path / "clip", frames, Variant(ending="mkv", stamps=stamps))
    assert 3.9 < probe(clip, "video").duration_s < 4.1
    output = tmp_path / "swapped.mp4"
    swap(SwapJob(clip, output, ((None, media.grace),), threads=1))
    assert landmarks.times(output) == pytest.approx(landmarks.times(clip), abs=0.002)
