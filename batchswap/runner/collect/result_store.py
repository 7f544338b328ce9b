"""The --out folder: downloads and final names."""

import asyncio
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from batchswap.downloads import Downloader, Place, Trial, Verified, discard_signed, is_published, publish, try_out
from batchswap.downloads.fsync_batch import to_its_end
from batchswap.downloads.output_paths import disk
from batchswap.errors import DownloadError
from batchswap.runner.interfaces import ResultExaminer, ResultSigner
from batchswap.tasks import MediaKind

MOMENT = 0.5
"""Seconds that the file system gets to answer."""


class Question:
    """A call to a file system, in a thread of its own: a share that is away hangs each thread that calls it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_open = False
        self._answer = threading.Event()

    def is_answered(self) -> bool:
        """Ask, unless an earlier call still hangs. Return whether the answer comes within a moment."""
        patience = 0.0
        if not self._is_open:
            self._is_open, patience = True, MOMENT
            self._answer.clear()
            threading.Thread(target=self._ask, daemon=True).start()
        return self._answer.wait(patience)

    def _ask(self) -> None:
        with suppress(OSError):
            os.statvfs(self._folder)
        self._answer.set()
        self._is_open = False


class Results:
    """The results below one folder."""

    def __init__(
        self,
        out: Path,
        downloader: Downloader,
        examiner: ResultExaminer | None = None,
        signer: ResultSigner | None = None,
    ) -> None:
        self._out, self._downloader, self.examiner, self.signer = out, downloader, examiner, signer
        self._traits = Trial().traits
        self._question = Question(out)

    async def try_out(self, outputs: Iterable[str]) -> Trial:
        """Test what the folder supports and whether it accepts these names. Later calls respect its limits."""
        trial = await to_its_end(asyncio.ensure_future(asyncio.to_thread(try_out, self._out, outputs)))
        self._traits = trial.traits
        return trial

    def _place(self, output: str) -> Place:
        return Place(self._out, output, self._traits)

    async def fetch(self, url: str, output: str, *, kind: MediaKind, tries: int, remote_id: str) -> Verified:
        """Download and check a result. Leave it as a part file next to its final place. Raise DownloadError."""
        return await self._downloader.fetch(url, self._place(output), kind=kind, attempt=tries, remote_id=remote_id)

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        """Rename the part to its final name. `replaces` is the SHA-256 of the task's own earlier file.

        Raise DownloadError.
        """
        await publish(self._place(output), part, replaces=replaces, filing=self._downloader.filing)

    def file(self, output: str, part: Verified) -> Path | None:
        """Return the file with the size of this verified part: the part itself, or the final file."""
        place = self._place(output)
        for path in (place.final.with_name(place.part), place.final):
            with suppress(OSError):
                if path.lstat().st_size == part.size:
                    return path
        return None

    def part(self, output: str) -> Path | None:
        """Return the part file; None if there is none."""
        place = self._place(output)
        path = place.final.with_name(place.part)
        return path if path.is_file() and not path.is_symlink() else None

    async def take(self, output: str, made: Path) -> None:
        """Let a file in the same folder take the place of the part, in one step. Raise DownloadError."""
        place = self._place(output)
        with disk(place):
            await asyncio.to_thread(made.replace, place.final.with_name(place.part))

    async def discard_signed(self, output: str) -> None:
        """Delete files of killed processes that were to take the place of the part, as far as possible."""
        with suppress(DownloadError):
            await asyncio.to_thread(discard_signed, self._place(output))

    async def holds(self, output: str, sha256: str) -> bool:
        """Return whether the file under the final name has this SHA-256. Raise DownloadError."""
        return await is_published(self._place(output), sha256)

    def taken(self, output: str) -> bool:
        """Return whether a file exists under the final name."""
        return os.path.lexists(f"{self._out}/{output}")

    def obstacle(self, output: str) -> str:
        """Return why nothing can be stored in the output's folder; "" when it can, as far as can be seen."""
        folder = (self._out / output).parent
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is not a folder"
        return "" if os.access(folder, os.W_OK | os.X_OK) else f"nothing can be written to {folder}"

    def answers(self) -> bool:
        """Return whether the folder's file system answers at once."""
        return self._question.is_answered()

    def is_writable(self) -> bool:
        """Return whether this user may create files in the folder."""
        folder = self._nearest_folder()
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)

    def free(self) -> int:
        """Return the free bytes for this user."""
        found = os.statvfs(self._nearest_folder())
        return found.f_bavail * found.f_frsize

    def _nearest_folder(self) -> Path:
        """Return the folder, or its nearest parent that exists."""
        folder = self._out
        while not os.path.lexists(folder):
            folder = folder.parent
        return folder
