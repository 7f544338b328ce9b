"""Examine results: collect the inputs of a task, and let a process compare them with its result."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from batchswap.delivery import is_installed
from batchswap.delivery.examination import Examination, FaceInput, SwapProof
from batchswap.delivery.inputs import InputFiles
from batchswap.delivery.proof import examine
from batchswap.errors import EngineError
from batchswap.ledger.deliveries import Delivered, pictures_folder
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import Input, hash_file, is_same
from batchswap.network import routes_of
from batchswap.settings import Settings, cores
from batchswap.states import Quality
from batchswap.tasks import MediaKind, Task, is_url
from batchswap.workers.worker_pool import CallFailed, Workers

LIMIT = 180.0
"""Seconds after which an examination is given up and its process killed."""
CALLS = 200
"""Examinations after which a process is replaced."""
NICENESS = 10
"""An examination gives way to the run, whose requests must leave in time."""


class Examiner:
    """Examines the results of one ledger, in processes of its own. Close it after use.

    `work` is the examination. `pictures` is the folder of the strips; None: draw none. `limit`: seconds for one result.
    """

    def __init__(
        self,
        work: Callable[[Examination], SwapProof],
        inputs: InputFiles,
        pictures: Path | None,
        limit: float = LIMIT,
    ) -> None:
        self._work, self._inputs, self._pictures, self._limit = work, inputs, pictures, limit
        count = count_workers()
        self._workers = Workers(count, niceness=NICENESS, calls=CALLS)
        # Waiting results must not hold downloaded inputs, which would fill the disk.
        self._places = asyncio.Semaphore(count + 1)

    async def examine(self, db: sqlite3.Connection, item: Task, result: Path, sha256: str) -> Delivered:
        """Return the finding about `result`, which is the file with this SHA-256 under any name.

        An input that cannot be had is named in the evidence, as `missing`.
        """
        missing: dict[str, str] = {}
        async with self._places, AsyncExitStack() as stack:

            async def get(given: str, role: str, kind: MediaKind) -> Path | None:
                if is_url(given):
                    path, problem = await stack.enter_async_context(self._inputs.use(given, kind))
                else:
                    known = input_files.recorded(db, item.id, Path(item.folder, given))
                    path, problem = await asyncio.to_thread(_local, Path(item.folder, given), known)
                if path is None:
                    missing[role] = problem
                return path

            kind = item.model.media_kind
            target = await get(item.target, "target", kind)
            if item.faces:
                faces = [
                    FaceInput(await get(given, f"face {face_id}", "image"), face_id) for face_id, given in item.faces
                ]
            else:
                faces = [FaceInput(await get(item.face, "face", "image"))]
            strip = self._strip(item, sha256)
            job = Examination(result, kind, target, tuple(faces), item.model.is_multi, strip)
            found = await self._examine(job)
        return self._delivered(found, sha256, strip, missing)

    async def _examine(self, job: Examination) -> SwapProof:
        """Examine in a process. A file that crashes it or keeps it busy for too long makes only its quality unknown."""
        try:
            return await self._workers.run(self._work, job, limit=self._limit)
        except (CallFailed, EngineError) as error:
            return SwapProof(Quality.UNKNOWN, None, None, {"reason": str(error)})

    def _strip(self, item: Task, sha256: str) -> Path | None:
        """Return the path of the picture, which is the same for another look at the same result."""
        if self._pictures is None:
            return None
        return self._pictures / sha256[:2] / f"{sha256[:16]}-{item.id}.webp"

    def _delivered(self, found: SwapProof, sha256: str, strip: Path | None, missing: dict[str, str]) -> Delivered:
        missing = found.evidence.get("missing", {}) | missing  # the own reasons are more exact
        evidence = found.evidence | ({"missing": missing} if missing else {})
        is_drawn = found.has_strip and strip is not None and self._pictures is not None
        return Delivered(
            sha256,
            found.quality,
            found.share,
            found.score,
            msgspec.json.encode(evidence),
            f"{strip.parent.name}/{strip.name}" if is_drawn and strip is not None else "",
        )

    async def close(self) -> None:
        """End the processes and remove the downloaded inputs."""
        await self._workers.close()
        await self._inputs.close()


def open_examiner(settings: Settings, *, allow_private: bool) -> Examiner | None:
    """Return the examiner of a ledger's results; None with --no-score, or if the extra `proof` is not installed.

    `allow_private`: inputs may be downloaded from addresses that are not public, because the API has one.
    """
    if not settings.score or not is_installed():
        return None
    routes = routes_of(settings.proxy)
    inputs = InputFiles(allow_private=allow_private, min_free=settings.min_free, routes=routes)
    return Examiner(examine, inputs, pictures_folder(settings.db))


def _local(path: Path, known: Input | None) -> tuple[Path | None, str]:
    """Return an input file if it is still the one that the task was submitted with; otherwise None and the reason."""
    try:
        if known is None or is_same(known, path, hash_file):
            return (path, "") if path.is_file() else (None, "it is gone")
    except OSError as error:
        return None, f"{error.strerror}"
    return None, "it has changed since the task was submitted"


def count_workers() -> int:
    """Return the number of processes: all cores but one, which is left to the run."""
    return max(1, cores() - 1)
