"""The quality of the local engine's swaps: identity, pose, steadiness and seams of real faces, compared with goals.

`python -m tests.benchmarks.bench_quality` makes three swaps of the demo's media and shows the worst one in each line.
The noise floor is the same figure for the original that was only decoded and encoded again.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine import SwapJob, swap
from batchswap.local.engine.facemesh.geometry import Floats
from manifests.demo_media import Media, make
from tests.benchmarks.bench_engine import transcode
from tests.benchmarks.table import Goal, at_least, at_most, markdown
from tests.engine import face_identity, measures
from tests.engine.landmarks import Seen, see

PERCENT = 100


class Original(NamedTuple):
    """A clip before any swap, its person, the movement of the head, and the clip after the encoder alone."""

    seen: Seen
    looks: NDArray[np.float64]
    heads: list[Floats]
    plain: Seen


class Figures(NamedTuple):
    """Measures of one swap."""

    likeness: float
    misplacing: float
    shaking: float
    seam: float


def look_at(clip: Path, folder: Path) -> Original:
    seen, path = see(clip), folder / f"plain-{clip.name}"
    transcode(clip, path)
    return Original(seen, measures.looks(seen, seen.frames), measures.movements(seen), see(path))


def judge(original: Original, after: Seen, new: NDArray[np.float64]) -> Figures:
    seen = original.seen
    floor = measures.shaking(seen, original.heads, original.plain.frames)
    return Figures(
        PERCENT * measures.likeness(measures.looks(seen, after.frames), original.looks, new),
        PERCENT * float(measures.misplacing(seen, after).max()),
        measures.shaking(seen, original.heads, after.frames) / floor,
        measures.seam(seen, after.frames),
    )


def swapped(clip: Path, face: Path, folder: Path) -> Seen:
    output = folder / f"{clip.stem}-{face.stem}.mp4"
    swap(SwapJob(clip, output, ((None, face),)))
    return see(output)


def work(media: Media, folder: Path) -> tuple[list[Original], list[Figures]]:
    originals = {clip: look_at(clip, folder) for clip in (media.carphone, media.portrait)}
    pairs = ((media.carphone, media.anna), (media.carphone, media.grace), (media.portrait, media.grace))
    people = {face: face_identity.person(face) for face in (media.anna, media.grace)}
    found = [judge(originals[clip], swapped(clip, face, folder), people[face]) for clip, face in pairs]
    return list(originals.values()), found


def main() -> list[Goal]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals, found = work(make(folder / "media"), folder)
    lost = PERCENT * max(float(measures.misplacing(each.seen, each.plain).max()) for each in originals)
    step = max(measures.seam(each.seen, each.plain.frames) for each in originals)
    floors = [
        measures.shaking(each.seen, each.heads, each.plain.frames)
        / measures.shaking(each.seen, each.heads, each.seen.frames)
        for each in originals
    ]
    return [
        at_least(
            "frames nearer to the new face than to the old (dlib)", min(each.likeness for each in found), 90, " %"
        ),
        at_most(
            "landmarks off their place in the worst frame, of the face's width",
            *(max(each.misplacing for each in found), 3, " %", f" (noise floor {lost:.2g} %)"),
        ),
        at_most(
            "shaking against the head, × the original's behind the same encoder",
            *(max(each.shaking for each in found), 1.5, "", f" (the encoder alone: × {max(floors):.2g})"),
        ),
        at_most(
            "step in colour at the mask's edge beyond the original's, code values",
            *(max(each.seam for each in found), measures.VISIBLE, "", f" (noise floor {step:.2g})"),
        ),
    ]


if __name__ == "__main__":
    print(*markdown(main()), sep="\n")
