"""What an examination takes and returns: plain frozen values that can be pickled."""

from pathlib import Path
from typing import Any

import msgspec

from batchswap.states import Quality
from batchswap.tasks import MediaKind


class FaceInput(msgspec.Struct, frozen=True):
    """One new face of a task. `path` is its picture; None: it cannot be had.

    `face_id` is the detected id in a task with several faces; None: the primary face.
    """

    path: Path | None
    face_id: int | None = None


class Examination(msgspec.Struct, frozen=True):
    """One result to examine. `result` is a complete file, whose name may have any ending.

    `target` is None if it cannot be had. `strip` is where to write the before/after picture (WebP); None: draw none.
    """

    result: Path
    kind: MediaKind
    target: Path | None
    faces: tuple[FaceInput, ...]
    is_multi: bool = False
    strip: Path | None = None


class SwapProof(msgspec.Struct, frozen=True):
    """The outcome of an examination. `share`: of the frames with a face, those in which it is swapped, 0 to 1.

    `score` is 0 to 1. `evidence` is small JSON: measures, distances, and the `reason` in plain words.
    """

    quality: Quality
    share: float | None
    score: float | None
    evidence: dict[str, Any]
    has_strip: bool = False
