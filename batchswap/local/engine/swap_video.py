"""Swap faces in a video in two passes: find everyone in every frame, then put the new faces into the frames."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from av.video.frame import VideoFrame

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.media import omissions, reader, subtitles
from batchswap.local.engine.media.reader import FrameOrPacket
from batchswap.local.engine.media.sound import formats
from batchswap.local.engine.media.stages import ahead, behind
from batchswap.local.engine.media.writer import open_writer
from batchswap.local.engine.rendering import new_face
from batchswap.local.engine.rendering.composite import Fitter
from batchswap.local.engine.rendering.new_face import NewFace
from batchswap.local.engine.tracking import upright
from batchswap.local.engine.tracking.first_pass import watch
from batchswap.local.engine.tracking.frame_store import FrameStore
from batchswap.local.engine.tracking.trajectory import Person
from batchswap.local.engine.values import MediaInfo, SwapJob, SwapReport

CULPRIT = "video"


@dataclass
class Counts:
    """Number of frames so far, and remarks on the result."""

    all: int = 0
    swapped: int = 0
    notes: list[str] = field(default_factory=list)


def swap_clip(job: SwapJob, info: MediaInfo, faces: dict[int | None, NewFace], part: Path) -> SwapReport:
    """Write the swapped video to `part`. Raises EngineError when a requested face, or every face, is missing."""
    with FrameStore(part.parent) as store:
        watched = watch(job.target, CULPRIT, store, job.threads)
        chosen = new_face.choose(faces, watched.follower.people(), CULPRIT)
        cast = [(Person(tracks, store, watched.follower.cuts), face) for tracks, face in chosen]
        counts = write(job, cast, part)
    notes = (*new_face.notes_of(faces), *upright.notes(watched.turns, CULPRIT), *dict.fromkeys(counts.notes))
    return SwapReport(counts.all, counts.swapped, info.duration_s, info.width, info.height, notes)


def write(job: SwapJob, cast: list[tuple[Person, NewFace]], part: Path) -> Counts:
    """The second pass."""
    counts = Counts()
    sounds = formats(job.target, CULPRIT)
    with reader.open_clip(job.target, CULPRIT, job.threads) as clip:
        counts.notes += omissions.notes(clip)
        fitters = [(person, Fitter(face, clip.coding)) for person, face in cast]
        with ahead(clip.packets((*clip.audio, *subtitles.readable(clip.container)))) as items:
            first, frame = peek(items)
            with (
                open_writer(part, clip, frame, sounds, job.label, job.threads) as writer,
                behind(writer.put) as hand,
            ):
                counts.notes += writer.notes
                for item in swapped(first, items, fitters, counts):
                    hand(item)
    return counts


def peek(items: Iterator[FrameOrPacket]) -> tuple[list[FrameOrPacket], VideoFrame | None]:
    """Return all items up to the first frame, and that frame."""
    first: list[FrameOrPacket] = []
    for item in items:
        first.append(item)
        if isinstance(item, VideoFrame):
            return first, item
    return first, None


def swapped(
    first: list[FrameOrPacket],
    items: Iterator[FrameOrPacket],
    fitters: list[tuple[Person, Fitter]],
    counts: Counts,
) -> Iterator[FrameOrPacket]:
    """Yield all items, the frames with their new faces."""
    for item in chain(first, items):
        if isinstance(item, VideoFrame):
            counts.swapped += fit(item, counts.all, fitters)
            counts.all += 1
        yield item


def fit(frame: VideoFrame, number: int, fitters: list[tuple[Person, Fitter]]) -> bool:
    """Put new faces into a frame. Return whether anything changed."""
    poses = [(pose, fitter) for person, fitter in fitters if (pose := person.at(number)) is not None]
    if not poses:
        return False
    poses.sort(key=lambda found: geometry.face_area(found[0].points))  # a larger face is nearer, and in front
    frame.make_writable()  # the decoder still uses its own copy
    planes = reader.planes_of(frame)
    return sum(fitter.fit(planes, pose) for pose, fitter in poses) > 0
