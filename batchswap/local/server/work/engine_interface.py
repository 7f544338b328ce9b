"""The interface between the server and an engine. All its values are pickled for a worker process and back."""

import os
from pathlib import Path
from typing import Protocol

import msgspec

from batchswap.local.engine import SwapJob

VIDEO, IMAGE, FACE = "video", "image", "face"
"""Roles of an input, as in an EngineError's `culprit`. The first two are also the kinds of files."""


class InputInfo(msgspec.Struct, frozen=True):
    """The kind of a file, VIDEO or IMAGE, and its duration: 0 for a still."""

    kind: str
    duration_s: float = 0.0


class Engine(Protocol):
    """An engine that can be pickled, since it runs in worker processes. A bad input raises EngineError."""

    def look(self, path: Path, culprit: str) -> InputInfo:
        """Examine a file. Raises EngineError when it is no video or picture, or cut off, or a FACE without a face."""

    def swap(self, job: SwapJob) -> str:
        """Do a swap and return a remark for the user, usually ""."""

    def detect(self, path: Path, folder: Path, threads: int) -> tuple[tuple[int, Path], ...]:
        """Return ids and pictures (files in `folder`) of the faces, the largest first. Raises EngineError for none."""


def produce(engine: Engine, job: SwapJob, result: Path) -> str:
    """Do a swap, sync the file and then rename it: a file with the final name is always complete."""
    try:
        remark = engine.swap(job)
        with job.output.open("rb") as file:
            os.fsync(file.fileno())
        job.output.chmod(0o600)
        job.output.replace(result)
    except BaseException:
        job.output.unlink(missing_ok=True)
        raise
    sync_folder(result.parent)
    return remark


def sync_folder(folder: Path) -> None:
    """Sync a folder: a rename is on the disk only after that."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
