"""What goes into the engine and comes out of it: plain frozen values that travel between processes."""

from dataclasses import dataclass
from pathlib import Path

from batchswap.tasks import MediaKind


@dataclass(frozen=True)
class MediaInfo:
    """What `probe` found. Width and height are pixels as displayed, after rotation.

    `duration_s` is 0 for a still; `frames` is None where the container does not say.
    """

    kind: MediaKind
    width: int
    height: int
    duration_s: float
    frames: int | None
    has_audio: bool


@dataclass(frozen=True)
class SwapJob:
    """One swap. `faces` maps the id of a detected face to the picture of its new face; id None is the primary face.

    `output` gets an .mp4 for a video; for a still its ending (.png, .jpg, .webp) decides the format.
    `label` (a task id) goes into the metadata. `threads` bounds what one swap uses; None: all cores.
    """

    target: Path
    output: Path
    faces: tuple[tuple[int | None, Path], ...]
    label: str = ""
    threads: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class SwapReport:
    """What was written. `swapped_frames` of `frames` show a new face; `notes` are sentences for people."""

    frames: int
    swapped_frames: int
    duration_s: float
    width: int
    height: int
    notes: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """Return all of it that a person should know, in one line."""
        parts = f"{self.swapped_frames:,} of {self.frames:,}" if self.swapped_frames < self.frames else "all"
        counted = (f"{parts} frames show a new face",) if self.duration_s else ()
        return "; ".join((*counted, *self.notes))


@dataclass(frozen=True)
class DetectedPerson:
    """One person of a video or still. `share` is the mean part of the picture's area that the face takes, 0 to 1."""

    id: int
    picture: Path
    share: float
    frames: int


@dataclass(frozen=True)
class DetectedPeople:
    """All faces, largest over the clip first: ids 0, 1, …; the same for the same file whenever it is asked."""

    info: MediaInfo
    faces: tuple[DetectedPerson, ...]


NOUNS = {"face": "face picture", "video": "video", "image": "image"}


def noun(culprit: str) -> str:
    """Return what people call an input, by an EngineError's culprit."""
    return NOUNS.get(culprit, culprit)
