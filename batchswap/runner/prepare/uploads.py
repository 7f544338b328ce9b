"""Upload input files. Each content is uploaded once per account, however many rows use it."""

import asyncio
import mimetypes
import os
import stat
from math import inf
from pathlib import Path

from batchswap import wire
from batchswap.client import Answer
from batchswap.errors import Exit, InputGone, MaybeSent, NeverSent, WireError
from batchswap.events import LogEvent
from batchswap.ledger import api_cache, transitions
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import FileState, Input, hash_file
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.free_calls import ask
from batchswap.runner.prepare.steps import FreeCallFailed, TaskInvalid
from batchswap.runner.prepare.upload_health import Intake
from batchswap.runner.stop_reasons import Stop, Stopped
from batchswap.runner.sync.waits import Locks, rest
from batchswap.runner.task_context import name_of
from batchswap.tasks import Task, is_url
from batchswap.verdicts import Retries

TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/x-msvideo", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".png": "image/png", ".webp": "image/webp",
}  # fmt: skip

UNKNOWN_TYPE = "unknown file type, rename it to an ending such as .jpg, .png or .mp4"

LEAST_TTL = 600.0
"""Least time in seconds for which an upload is used, even if --upload-ttl is shorter."""

REMEMBERED = 10_000
"""Most file hashes to keep."""


class NotStored(Exception):
    """An upload failed. `is_refusal` means that the store refused this file; other files may still work."""

    def __init__(self, words: str, *, is_refusal: bool) -> None:
        super().__init__(words)
        self.is_refusal = is_refusal


class Uploading:
    """Hashes and uploads each file once, even if several tasks need it at the same time."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._hashing, self._uploading = Locks(), Locks()
        self._intake = Intake()
        self._digests: dict[Path, tuple[FileState, str]] = {}
        self._changed: set[Path] = set()

    async def url_of(self, task: Task, given: str) -> tuple[str, float, Input | None]:
        """Return a URL for the API, its expiry (Unix seconds), and the local file if there is one.

        Raise TaskInvalid, RowRefused or Stopped.
        """
        if is_url(given):
            return given, inf, None
        run, path = self._run, Path(task.folder, given)
        async with self._hashing.hold(str(path)):
            (size, modified), digest = await self._digest(path)
            if input_files.enrolled(run.ledger.db, path) not in (None, (size, modified)):
                await self._note_change(task, path)
        async with self._uploading.hold(digest):
            now = run.clock.now()
            known = api_cache.find_upload(run.ledger.db, run.account.owner, digest, now - run.settings.upload_ttl, now)
            if known is None:
                known = await self._upload(path, digest), run.clock.now()
            until = known[1] + max(run.settings.upload_ttl, LEAST_TTL)
            return known[0], until, Input(str(path), size, modified, digest)

    async def digest_of(self, path: Path) -> str:
        """Return the SHA-256 of a file that is going to be uploaded. Raise TaskInvalid if it cannot be."""
        async with self._hashing.hold(str(path)):
            return (await self._digest(path))[1]

    async def _digest(self, path: Path) -> tuple[FileState, str]:
        """Return a file's state and its SHA-256, computed again if its size or time has changed."""
        try:
            found = await asyncio.to_thread(path.stat)
            check_file(path, found, self._run.settings.max_upload)
            sighting = input_files.state_of(found)
            seen, digest = self._digests.get(path, (None, ""))
            if seen != sighting:
                digest = await asyncio.to_thread(hash_file, path)
                if len(self._digests) >= REMEMBERED:
                    self._digests.clear()
                self._digests[path] = sighting, digest
        except OSError as error:
            raise TaskInvalid("input-gone", f"{path}: {error.strerror}") from error
        return sighting, digest

    async def _note_change(self, task: Task, path: Path) -> None:
        """Report and record that a file changed after its row was enrolled. The new content is used."""
        run, words = self._run, f"{path} changed after its row was enrolled; its new content is used"
        if path not in self._changed:
            self._changed.add(path)
            run.report(LogEvent.INPUT_CHANGED, words, task=name_of(task))
        await run.ledger.write(transitions.log, "input-changed", task_id=task.id, state=task.state, detail=words)

    async def _upload(self, path: Path, digest: str) -> str:
        """Upload a file and return its URL. Raise TaskInvalid, or Stopped if no file can be uploaded for too long."""
        run, retries = self._run, Retries(self._run.settings.retries)
        content_type = content_type_of(path)
        if content_type is None:
            raise TaskInvalid("upload-failed", f"{path}: {UNKNOWN_TYPE}")
        try:
            while True:
                try:
                    file_url = await self._send(path, content_type)
                except NotStored as error:
                    if retries.failed(*self._note_failure(digest, error)):
                        raise FreeCallFailed("upload-failed", f"{path}: {error}") from None
                    if not await rest(run.backoff(retries.failures), run.state.submits_over):
                        raise Stopped from None
                else:
                    self._intake.stored(run.clock.monotonic())
                    return await self._remember(path, digest, file_url)
        finally:
            self._intake.forget(digest)

    async def _send(self, path: Path, content_type: str) -> str:
        """Try once to upload a file. Return its URL. Raise NotStored, TaskInvalid, RowRefused or Stopped."""
        api = self._run.api
        try:
            answer = await ask(self._run, "upload", lambda: api.upload_url(content_type, path.suffix.lower()))
        except FreeCallFailed as error:
            raise FreeCallFailed(error.code, f"{path}: {error.reason}") from None
        place = place_for(path, answer)
        try:
            stored = await api.put_file(place.presigned_url, path, content_type)
        except InputGone as error:
            raise TaskInvalid("input-gone", str(error)) from error
        except WireError as error:
            raise NotStored(str(error), is_refusal=True) from None
        except (NeverSent, MaybeSent) as error:
            raise NotStored(str(error), is_refusal=False) from None
        if not 200 <= stored.status < 300:
            raise NotStored(f"the upload failed with HTTP status {stored.status}", is_refusal=stored.status < 500)
        return place.file_url

    def _note_failure(self, digest: str, error: NotStored) -> tuple[float, float]:
        """Return the time, and when the store last worked for this file. Raise Stopped when patience is over."""
        run, now = self._run, self._run.clock.monotonic()
        if error.is_refusal:
            return now, now
        good_at = self._intake.failed(digest, now)
        if self._intake.out_for(now) > run.settings.patience:
            run.state.stop_submits(Stop(Exit.UNAVAILABLE, f"no file could be uploaded for too long: {error}"))
            raise Stopped
        if self._intake.is_news():
            words = f"no file can be uploaded ({error}): waiting, for --patience at most"
            run.report(LogEvent.UPLOADS_UNAVAILABLE, words)
        return now, good_at

    async def _remember(self, path: Path, digest: str, file_url: str) -> str:
        """Record the URL of the content if the file did not change during the upload."""
        await check_unchanged(path, digest)
        run = self._run
        await run.ledger.write(api_cache.remember_upload, run.account.owner, digest, file_url)
        return file_url


def check_file(path: Path, found: os.stat_result, most: int) -> None:
    """Raise TaskInvalid for a file that cannot be uploaded. `most` is in bytes."""
    if not stat.S_ISREG(found.st_mode):
        raise TaskInvalid("input-unfit", f"{path} is not a regular file")
    if not found.st_size:
        raise TaskInvalid("input-unfit", f"{path} is an empty file")
    if found.st_size > most:
        raise TaskInvalid("too-large", too_large(path, found.st_size, most))


def place_for(path: Path, answer: Answer | None) -> wire.UploadUrl:
    """Return the URLs for an upload. Raise TaskInvalid if the answer has none."""
    place = wire.UploadUrl.from_json(answer.data if answer else None)
    if not place.presigned_url or not is_url(place.file_url):
        raise TaskInvalid("upload-failed", f"{path}: the API gave no URL to upload it to")
    return place


async def check_unchanged(path: Path, digest: str) -> None:
    """Raise TaskInvalid if an uploaded file no longer has the hash that it had before."""
    try:
        same = await asyncio.to_thread(hash_file, path) == digest
    except OSError:
        same = False
    if not same:
        raise TaskInvalid("input-gone", f"{path} changed while it was uploaded")


def too_large(name: Path | str, size: int, most: int) -> str:
    return f"{name} has {size:,} bytes, more than --max-upload allows ({most:,})"


def content_type_of(path: Path) -> str | None:
    """Return the content type for the file's ending; None if unknown."""
    return TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
