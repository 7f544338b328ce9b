"""The local engine: finds a face in every frame, warps a new one onto it, blends, writes. No HTTP, no asyncio.

Importing this is cheap; mediapipe, OpenCV and PyAV are loaded by the first call that needs them. Every call raises
EngineError for what is wrong with an input and MissingExtra when batchswap[local] is not installed.
"""

from collections.abc import Sequence
from pathlib import Path

from batchswap.local.engine.requirements import find_problems, load, load_one
from batchswap.local.engine.values import DetectedPeople, DetectedPerson, MediaInfo, SwapJob, SwapReport

__all__ = [
    "DetectedPeople",
    "DetectedPerson",
    "MediaInfo",
    "SwapJob",
    "SwapReport",
    "check_usable",
    "detect",
    "draw_sheet",
    "look_at_face",
    "probe",
    "swap",
]


def probe(path: Path, culprit: str, max_bytes: int | None = None) -> MediaInfo:
    """What kind of media `path` is. Raises EngineError(culprit, …) when it is none, empty, cut off or too large."""
    load()
    from batchswap.local.engine.media.probe import probe as work  # noqa: PLC0415

    return work(path, culprit, max_bytes)


def swap(job: SwapJob) -> SwapReport:
    """Do the swap; under `job.output` there is then a complete file. Raises EngineError; nothing is left then."""
    load()
    from batchswap.local.engine.swap_job import swap as work  # noqa: PLC0415

    return work(job)


def detect(path: Path, folder: Path, threads: int | None = None) -> DetectedPeople:
    """The faces of a video or still, with a JPEG picture of each in `folder`. No face: an empty tuple."""
    load()
    from batchswap.local.engine.detect_faces import detect as work  # noqa: PLC0415

    return work(path, folder, threads)


def look_at_face(path: Path) -> tuple[str, ...]:
    """Return remarks on the picture of a new face. Raises EngineError("face", …) when it cannot be used."""
    load()
    from batchswap.local.engine.rendering.new_face import read  # noqa: PLC0415

    return read(path).notes


def draw_sheet(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """A PNG with the pictures side by side, each with its caption. Raises OSError."""
    for name in ("numpy", "cv2"):
        load_one(name)
    from batchswap.local.engine.contact_sheet import draw_sheet as work  # noqa: PLC0415

    work(pictures, path)


def check_usable() -> list[str]:
    """What keeps the engine from working here, in words with the remedy; empty when it is fit."""
    return find_problems()
