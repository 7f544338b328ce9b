"""The local engine: find a face in every frame, warp a new one onto it, blend, write. No HTTP, no asyncio.

This import is cheap: the first call that needs mediapipe, OpenCV or PyAV loads them. Every call raises EngineError for
a bad input and MissingExtra when batchswap[local] is not installed.
"""

from collections.abc import Sequence
from pathlib import Path

from batchswap.local.engine.requirements import check_installed, check_usable, load, load_one
from batchswap.local.engine.values import DetectedPeople, DetectedPerson, FaceSurvey, MediaInfo, SwapJob, SwapReport
from batchswap.tasks import MediaKind

__all__ = [
    "DetectedPeople",
    "DetectedPerson",
    "FaceSurvey",
    "MediaInfo",
    "SwapJob",
    "SwapReport",
    "check_text",
    "check_usable",
    "detect",
    "draw_label",
    "draw_sheet",
    "look_at_face",
    "probe",
    "survey_faces",
    "swap",
]


def probe(path: Path, culprit: str, max_bytes: int | None = None) -> MediaInfo:
    """Examine a media file. Raises EngineError(culprit, …) when it is no media, empty, cut off or too large."""
    load()
    from batchswap.local.engine.media.probe import probe as work  # noqa: PLC0415

    return work(path, culprit, max_bytes)


def swap(job: SwapJob) -> SwapReport:
    """Do a swap: `job.output` is then a complete file. Raises EngineError and leaves no file."""
    load()
    from batchswap.local.engine.swap_job import swap as work  # noqa: PLC0415

    return work(job)


def detect(path: Path, folder: Path, threads: int | None = None) -> DetectedPeople:
    """Detect the faces of a video or still and write a JPEG picture of each to `folder`. It may find none."""
    load()
    from batchswap.local.engine.detect_faces import detect as work  # noqa: PLC0415

    return work(path, folder, threads)


def survey_faces(path: Path, kind: MediaKind, threads: int | None = None) -> FaceSurvey:
    """Look for faces in a few frames of a video, or in a still. It may find none."""
    load()
    from batchswap.local.engine.face_survey import survey_faces as work  # noqa: PLC0415

    return work(path, kind, threads)


def draw_label(source: Path, output: Path, text: str) -> tuple[str, ...]:
    """Encode a video (`output` ends in .mp4) or a still again, with a visible label. Return remarks.

    It keeps sound, subtitles, orientation, colours, time stamps and metadata. Raises EngineError and OSError; there is
    no file then.
    """
    load()
    from batchswap.local.engine.labelled_copy import draw_label as work  # noqa: PLC0415

    return work(source, output, text)


def check_text(text: str) -> str:
    """Return why a text cannot be a visible label; "" if it can be one. Raises MissingExtra."""
    check_installed()
    from batchswap.local.engine.visible_text import problem_with  # noqa: PLC0415

    return problem_with(text)


def look_at_face(path: Path) -> tuple[str, ...]:
    """Check the picture of a new face and return remarks on it. Raises EngineError("face", …) if it is unusable."""
    load()
    from batchswap.local.engine.rendering.new_face import read  # noqa: PLC0415

    return read(path).notes


def draw_sheet(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Write a PNG with the pictures side by side, each with its caption. Raises OSError."""
    for name in ("numpy", "cv2"):
        load_one(name)
    from batchswap.local.engine.contact_sheet import draw_sheet as work  # noqa: PLC0415

    work(pictures, path)
