"""Results to files. A download may be tried as often as it takes: it costs nothing and can lead to no submit."""

import asyncio
from collections.abc import Callable

import msgspec

from batchswap.downloads import Kind, Verified
from batchswap.errors import DownloadError
from batchswap.ledger import moves, queries
from batchswap.ledger.entries import What
from batchswap.ledger.queries import Former
from batchswap.runner.desk import Desk
from batchswap.runner.jobs import Job
from batchswap.runner.rests import rest
from batchswap.runner.storage import Troubles
from batchswap.states import Event
from batchswap.tasks import Model, clean

BACKLOG = 1000
"""Results that may wait for their download while more is submitted: each is in memory, and its URL is temporary."""


class Fetching:
    """Downloads that go on. `ask_again` gets a task whose media URL has expired."""

    def __init__(self, desk: Desk, ask_again: Callable[[Job], None]) -> None:
        self._desk, self._ask_again = desk, ask_again
        self._places = asyncio.Semaphore(desk.settings.downloads)
        self._is_said = False
        self._unsaved: set[str] = set()
        """Reasons for which a result could not be saved: each is shown once."""
        self._troubles = Troubles(desk)

    def is_behind(self, waiting: int) -> bool:
        """Whether so many results wait that nothing more should be submitted."""
        return waiting >= BACKLOG

    def note(self, waiting: int) -> None:
        """One more waits now. That downloads are behind is said once."""
        if self.is_behind(waiting) and not self._is_said:
            self._is_said = True
            self._desk.say(f"{waiting:,} results wait for their download: nothing is submitted until they are fewer")

    async def save(self, job: Job, urls: tuple[str, ...]) -> None:
        """From media URL to `done`, or to `failed` with the reason; the URL and the remote id are kept."""
        try:
            former = queries.former(self._desk.db, job.task.id)
            if await self._is_kept(job, former):
                return
            part = await self._fetch(job, urls[0])
            if part is not None:
                await self._keep(job, part, former)
        except DownloadError as error:
            if self._troubles.take(job, error):
                return
            if error.reason not in self._unsaved:
                self._unsaved.add(error.reason)
                name = f"{job.task.batch}/{job.task.key}"
                self._desk.warn(f"{name} is paid for and could not be saved: {error}; `batchswap retry` fetches it")
            await self._leave(job, Event.UNSAVED, error)

    async def _is_kept(self, job: Job, former: Former) -> bool:
        """Whether an earlier run had the whole result already, so that only its name or its record was missing."""
        if former.sha256 is None or former.size is None:
            return False
        try:
            await self._publish(job, Verified(former.sha256, former.size, ""), former)
        except DownloadError as error:
            if error.final:
                raise
            return False
        return True

    async def _publish(self, job: Job, part: Verified, former: Former) -> None:
        desk = self._desk
        await desk.store.publish(job.task.output, part, replaces=former.replaces)
        self._troubles.clear()
        await desk.writer.do(lambda db: moves.saved(db, desk.stamp(), job.attempt))
        desk.log.note(What.SAVED, job.task, job.attempt, size=part.size, sha256=part.sha256)

    async def _keep(self, job: Job, part: Verified, former: Former) -> None:
        """The record of what is about to appear, the final name, the record that it is there: in this order."""
        desk, output = self._desk, job.task.output
        await desk.writer.do(
            lambda db: moves.verified(db, desk.stamp(), job.attempt, file=output, size=part.size, sha256=part.sha256)
        )
        await self._publish(job, part, former)

    async def _fetch(self, job: Job, url: str) -> Verified | None:
        """The checked part. None: asked for a fresh URL, or left to the next run. Raises DownloadError in the end."""
        desk = self._desk
        kind: Kind = "video" if job.task.model in (Model.VIDEO, Model.VIDEO_MULTI) else "image"
        output, remote_id, tries = job.task.output, job.attempt.remote_id or "", 1
        while True:
            try:
                async with self._places:
                    return await desk.store.fetch(url, output, kind=kind, tries=tries, remote_id=remote_id)
            except DownloadError as error:
                if error.stale and not job.refreshed:
                    await self._leave(job, Event.STALE, error)
                    self._ask_again(msgspec.structs.replace(job, refreshed=True))
                    return None
                if error.final or tries > desk.settings.retries:
                    raise
                if not await rest(desk.backoff(tries), desk.over):
                    return None
                tries += 1

    async def _leave(self, job: Job, event: Event, error: DownloadError) -> None:
        desk = self._desk
        await desk.writer.do(
            lambda db: moves.not_saved(
                db, desk.stamp(), job.attempt, event, code=error.reason, reason=clean(str(error))
            )
        )
