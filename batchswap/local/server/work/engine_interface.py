"""What the server asks of an engine. Everything here is carried to a worker process and back."""

import os
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

VIDEO, IMAGE, FACE = "video", "image", "face"
"""What an input is for: an EngineError's `culprit`. The first two are what a file can be, too."""


class InputInfo(msgspec.Struct, frozen=True):
    """What a file turned out to be: `kind` is VIDEO or IMAGE; a still takes 0 seconds."""

    kind: str
    duration_s: float = 0.0


class Swap(msgspec.Struct, frozen=True):
    """Write `target` with its faces replaced to `output`. A face id of None is the primary face.

    `label` goes into the metadata. `threads` is what one swap may use, so that several at once use each core once.
    """

    target: Path
    output: Path
    faces: tuple[tuple[int | None, Path], ...]
    label: str = ""
    threads: int = 1


class Engine(Protocol):
    """Called in worker processes, so it must survive pickling. An input that will not do raises EngineError."""

    def look(self, path: Path, culprit: str) -> InputInfo:
        """Raises EngineError when the file is no video or picture, or cut off; for FACE, when it shows no face."""

    def swap(self, swap: Swap) -> str:
        """A remark for the user, mostly ""."""

    def detect(self, path: Path, folder: Path, threads: int) -> tuple[tuple[int, Path], ...]:
        """The faces' ids, the largest face first, and their pictures as files in `folder`. No face: EngineError."""


def produce(engine: Engine, swap: Swap, result: Path) -> str:
    """Swap, then sync the file and give it its final name: a file of that name is always complete."""
    try:
        remark = engine.swap(swap)
        with swap.output.open("rb") as file:
            os.fsync(file.fileno())
        swap.output.chmod(0o600)
        swap.output.replace(result)
    except BaseException:
        swap.output.unlink(missing_ok=True)
        raise
    sync_folder(result.parent)
    return remark


def open_private(path: Path) -> BinaryIO:
    """For writing at the end, readable by this user only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
