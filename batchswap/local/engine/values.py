"""Inputs and outputs of the engine: plain frozen values that can be pickled."""

from dataclasses import dataclass
from pathlib import Path

from batchswap.tasks import MediaKind


@dataclass(frozen=True)
class MediaInfo:
    """The result of `probe`. Width and height are in displayed pixels, after rotation.

    `duration_s` is 0 for a still. `frames` is None if the container does not store the number.
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

    `output` ends in .mp4 for a video. For a still, its suffix (.png, .jpg, .webp) selects the format.
    `label` (a task id) goes into the metadata. `threads` limits one swap; None: all cores.
    """

    target: Path
    output: Path
    faces: tuple[tuple[int | None, Path], ...]
    label: str = ""
    threads: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class SwapReport:
    """A finished swap: `swapped_frames` of `frames` show a new face; `notes` are remarks for people."""

    frames: int
    swapped_frames: int
    duration_s: float
    width: int
    height: int
    notes: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """All remarks for people in one line."""
        parts = f"{self.swapped_frames:,} of {self.frames:,}" if self.swapped_frames < self.frames else "all"
        counted = (f"{parts} frames show a new face",) if self.duration_s else ()
        return "; ".join((*counted, *self.notes))


@dataclass(frozen=True)
class DetectedPerson:
    """One person of a video or still. `share` is the mean share of the face in the picture's area, 0 to 1."""

    id: int
    picture: Path
    share: float
    frames: int


@dataclass(frozen=True)
class DetectedPeople:
    """All faces, the largest over the clip first, with ids 0, 1, … The same file always gives the same ids."""

    info: MediaInfo
    faces: tuple[DetectedPerson, ...]


@dataclass(frozen=True)
class FaceSurvey:
    """The faces in a few frames of a video, or in a still.

    `at_once` is the largest number of faces in one frame; 0: no face. The other values are about the person whose face
    is the largest over all frames: `share` is its width as a part of the picture's width, `place` is where it is first
    seen, at `since` seconds. After `turns` quarter turns of the picture, the face is upright.
    """

    kind: MediaKind
    seconds: float
    frames: int
    at_once: int = 0
    share: float = 0.0
    place: str = ""
    since: float = 0.0
    turns: int = 0


NOUNS = {"face": "face picture", "video": "video", "image": "image"}


def noun(culprit: str) -> str:
    """Return the name of an input in messages, from an EngineError's culprit."""
    return NOUNS.get(culprit, culprit)


def kind_noun(kind: str) -> str:
    return "video" if kind == "video" else "still picture"
