"""From a queued task to one that can be submitted: inputs that the API can fetch, a free output, a price."""

import asyncio
import hashlib
import mimetypes
from pathlib import Path

from batchswap import wire
from batchswap.errors import InputGone, MaybeSent, NeverSent, WireError
from batchswap.ledger import moves, queries
from batchswap.runner.desk import Desk, RowRefused, Stopped
from batchswap.runner.jobs import Ready, group_of
from batchswap.runner.prices import Prices
from batchswap.tasks import Attempt, Task, is_url

_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/x-msvideo", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".png": "image/png", ".webp": "image/webp",
}  # fmt: skip


class Unfit(Exception):
    """The task cannot be submitted as it is. `code` is a short reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Preparing:
    """Makes queued tasks ready. Each content is uploaded once, however many tasks name it."""

    def __init__(self, desk: Desk, prices: Prices) -> None:
        self._desk, self._prices = desk, prices
        self._uploading: dict[str, asyncio.Lock] = {}
        self._digests: dict[Path, tuple[tuple[int, int], str]] = {}

    async def prepare(self, task: Task, again: Attempt | None = None) -> Ready | None:
        """None: the task has failed, which is recorded, or the run ends."""
        try:
            if again is None:
                self._check(task)
            body = wire.CreateTask(
                task.model,
                {
                    task.model.target_field: await self._url(task, task.target),
                    "new_face": await self._url(task, task.face),
                },
            )
            price = again.reserved if again is not None else await self._prices.of(group_of(task), body)
        except Stopped:
            return None
        except RowRefused as refusal:
            await self._fail(task, "422", str(refusal), again)
        except Unfit as unfit:
            await self._fail(task, unfit.code, unfit.reason, again)
        else:
            return Ready(task, body, price, again)
        return None

    async def _fail(self, task: Task, code: str, reason: str, again: Attempt | None) -> None:
        if again is not None:
            return  # an uncertain task stays uncertain: that its input is gone says nothing of the attempt
        desk = self._desk
        await desk.writer.do(lambda db: moves.unfit(db, desk.stamp(), task.id, code=code, reason=reason))

    def _check(self, task: Task) -> None:
        if task.model.is_multi:
            raise Unfit("several-faces", "rows with several faces cannot be run yet; give the row one face")
        owner = queries.output_owner(self._desk.db, task.output, task.id)
        if owner is not None:
            raise Unfit("output-taken", f"{task.output} is also the output of {owner}")
        if self._desk.store.taken(task.output) and queries.replaces(self._desk.db, task.id) is None:
            raise Unfit("output-taken", f"{task.output} exists already and was not made by this task")

    async def _url(self, task: Task, given: str) -> str:
        if is_url(given):
            return given
        path = Path(task.folder, given)
        digest = await self._digest(path)
        async with self._uploading.setdefault(digest, asyncio.Lock()):
            desk = self._desk
            since = desk.clock.now() - desk.settings.upload_ttl
            known = queries.uploaded(desk.db, desk.account, digest, since)
            return known if known is not None else await self._upload(path, digest)

    async def _digest(self, path: Path) -> str:
        """SHA-256 of a file; asked again when its size or time has changed."""
        try:
            found = await asyncio.to_thread(path.stat)
            mark = (found.st_size, found.st_mtime_ns)
            if path not in self._digests or self._digests[path][0] != mark:
                self._digests[path] = (mark, await asyncio.to_thread(_hash, path))
        except OSError as error:
            raise Unfit("input-gone", f"{path}: {error.strerror}") from error
        return self._digests[path][1]

    async def _upload(self, path: Path, digest: str) -> str:
        """Raises Unfit when the file cannot be uploaded."""
        desk = self._desk
        ending = path.suffix.lower()
        content_type = _TYPES.get(ending) or mimetypes.guess_type(path.name)[0]
        if content_type is None:
            raise Unfit("upload-failed", f"{path}: its ending does not say what kind of file it is")
        why = "the API gave no place for it"
        for tries in range(1, desk.settings.retries + 2):
            answer = await desk.ask("upload", lambda: desk.api.upload_url(content_type, ending))
            if answer is None:
                break
            place = wire.UploadUrl.from_json(answer.data)
            if not place.presigned_url or not is_url(place.file_url):
                break
            try:
                stored = await desk.api.put_file(place.presigned_url, path, content_type)
            except InputGone as error:
                raise Unfit("input-gone", str(error)) from error
            except (NeverSent, MaybeSent, WireError) as error:
                why = str(error)
            else:
                if 200 <= stored.status < 300:
                    return await self._remember(path, digest, place.file_url)
                why = f"the upload was answered with {stored.status}"
            await desk.clock.sleep(desk.backoff(tries))
        raise Unfit("upload-failed", f"{path}: {why}")

    async def _remember(self, path: Path, digest: str, file_url: str) -> str:
        """What was uploaded must be what was hashed."""
        if await asyncio.to_thread(_hash, path) != digest:
            raise Unfit("input-gone", f"{path} changed while it was uploaded")
        desk = self._desk
        await desk.writer.do(lambda db: moves.uploaded(db, desk.stamp(), desk.account, digest, file_url))
        return file_url


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
