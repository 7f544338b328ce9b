"""Sound that changes midway, or is damaged, is complete in the result."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from batchswap.local.engine import SwapJob, SwapReport, swap
from manifests.demo_media import Media, read_anna, view
from tests.engine.landmarks import Pixels
from tests.engine.variants import Variant, write

COUNT = 25


@pytest.fixture(scope="module")
def frames(media: Media) -> list[Pixels]:
    """Return a second of Anna."""
    picture = view(read_anna(media.anna), (320, 240), centre=(150, 120), width=110)
    return [np.ascontiguousarray(picture[..., ::-1])] * COUNT


def run(clip: Path, media: Media) -> tuple[Path, SwapReport]:
    output = clip.with_name("swapped.mp4")
    return output, swap(SwapJob(clip, output, ((None, media.grace),), threads=1))


def joined(folder: Path, frames: list[Pixels], *sounds: Variant) -> Path:
    """Join transport streams, as recorders of broadcasts do."""
    parts = [write(folder / f"part{number}", frames, sound) for number, sound in enumerate(sounds)]
    clip = folder / "clip.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    return clip


def loudness(path: Path) -> list[float]:
    """Return the loudness of each tenth of a second. Fail if a part is undecodable or out of order."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        sounds = list(container.decode(track))
    times = [float(frame.pts * frame.time_base) for frame in sounds if frame.pts is not None and frame.time_base]
    assert all(one < two for one, two in pairwise(times))
    whole = np.concatenate([np.atleast_2d(frame.to_ndarray())[0].astype(np.float64) for frame in sounds])
    return [
        float(np.abs(part).mean()) for part in np.array_split(whole, round(10 * len(whole) / sounds[0].sample_rate))
    ]


@pytest.mark.parametrize(
    ("codec", "first", "then", "told"),
    [
        ("mp2", (48_000, "stereo"), (48_000, "mono"), "48,000 Hz, stereo"),
        ("mp2", (48_000, "stereo"), (32_000, "stereo"), "48,000 Hz, stereo"),
        ("aac", (48_000, "stereo"), (22_050, "mono"), "48,000 Hz, stereo"),
        ("ac3", (32_000, "mono"), (44_100, "mono"), "44,100 Hz, mono"),
    ],
)
def test_sound_that_changes_midway_is_heard_to_the_end(
    tmp_path: Path,
    frames: list[Pixels],
    media: Media,
    codec: str,
    first: tuple[int, str],
    then: tuple[int, str],
    told: str,
) -> None:
    """As in a film with advertisements."""
    parts = [Variant(ending="ts", sound=codec, rate=rate, layout=layout) for rate, layout in (first, then)]
    output, report = run(joined(tmp_path, frames, *parts), media)
    assert report.notes == (f"a sound track changes its format midway and was converted to AAC ({told})",)
    tenths = loudness(output)
    assert 19 <= len(tenths) <= 22
    assert min(tenths[1:9] + tenths[12:19]) > 0.5 * max(tenths)


def test_sound_that_stays_the_same_is_copied(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    part = Variant(ending="ts", sound="ac3", rate=48_000)
    output, report = run(joined(tmp_path, frames, part, part), media)
    assert report.notes == ()
    with av.open(str(output)) as container:
        assert container.streams.audio[0].codec_context.name == "ac3"


def test_a_damaged_piece_of_sound_does_not_fail_the_clip(tmp_path: Path, frames: list[Pixels], media: Media) -> None:
    clip = write(tmp_path / "clip", frames, Variant(ending="mkv", sound="mp2", rate=48_000))
    with av.open(str(clip)) as container:
        pieces = [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]
    data = clip.read_bytes()
    for piece in pieces[10:13]:
        assert data.count(piece) == 1
        data = data.replace(piece, bytes(len(piece)))
    clip.write_bytes(data)
    output, report = run(clip, media)
    assert report.swapped_frames == COUNT
    tenths = loudness(output)
    assert min(tenths[:2] + tenths[5:9]) > 0.5 * max(tenths)
