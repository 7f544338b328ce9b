"""Download results to files. Downloads are free, may be retried without limit, and never lead to a submit.

`media_hosts` decides what to do after a failure. This module waits and records.
"""

import asyncio
import logging
import random
from collections import defaultdict
from math import inf
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import msgspec

from batchswap import media_hosts
from batchswap.client import parse_retry_after
from batchswap.downloads import Verified, false_ending
from batchswap.errors import DownloadError, Exit
from batchswap.events import LogEvent
from batchswap.ledger import queries, transitions
from batchswap.ledger.queries import PreviousResult
from batchswap.ledger.submission_log.entries import What
from batchswap.media_hosts import DownloadHistory, Host, Next, Then, Trouble
from batchswap.runner.collect.examination_step import Examining
from batchswap.runner.collect.signing_step import Signing
from batchswap.runner.collect.storage_trouble import Troubles
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.outcomes import SAVED, SETTLED, DownloadOutcome, Settled, UrlExpired
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.task_context import Job, name_of
from batchswap.states import Event, State
from batchswap.tasks import MediaKind, clean

BACKLOG = 1000
"""Results that may wait for their download before submitting pauses. They use memory, and their URLs expire."""

CAP = 30.0
"""Longest time in seconds between two tries to download a result."""

_ENDINGS: dict[MediaKind, tuple[str, ...]] = {
    "video": (".mp4", ".mov", ".webm", ".mkv", ".m4v"),
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif"),
}


class Fetching:
    """The downloads in progress."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._places = asyncio.Semaphore(run.settings.downloads)
        self._is_reported = self._has_old_urls = False
        self._unsaved: set[str] = set()
        """Reasons why results could not be saved. Each is reported once."""
        self._troubles = Troubles(run)
        self._hosts = defaultdict[str, Host](Host)
        self._given = dict[str, float]()
        """When each host last delivered a result."""
        self._given_up = set[str]()
        self._endings = set[str]()
        self._examining, self._signing = Examining(run), Signing(run)
        self._stories: dict[int, DownloadHistory] = {}
        """The history of each task's download, which is kept when a new URL is requested."""
        self._better = asyncio.Event()
        """Set and replaced when a host has recovered or is given up."""

    def is_behind(self, waiting: int) -> bool:
        """Return whether submitting should pause because too many results wait for their download."""
        return waiting >= BACKLOG

    def holds_submits(self) -> bool:
        """Return whether a media host fails for several results, so that another result could not be downloaded."""
        now = self._run.clock.monotonic()
        return any(host.holds_submits(now, self._others_gave(name)) for name, host in self._hosts.items())

    def _others_gave(self, name: str) -> float:
        return max((at for other, at in self._given.items() if other != name), default=-inf)

    def note(self, waiting: int) -> None:
        """Note the number of waiting results. Report once that downloads are behind."""
        if self.is_behind(waiting) and not self._is_reported:
            self._is_reported = True
            words = f"{waiting:,} results wait for their download: nothing is submitted until there are fewer"
            self._run.report(LogEvent.DOWNLOADS_BEHIND, words, waiting=waiting)

    async def save(self, job: Job, urls: tuple[str, ...]) -> DownloadOutcome:
        """Download a result and set the task to `done`, or to `failed` with the reason, keeping URL and remote id."""
        try:
            previous = queries.previous_result(self._run.ledger.db, job.task.id)
            if not await self._is_kept(job, previous):
                found = await self._fetch(job, urls)
                if not isinstance(found, Verified):
                    return found
                await self._keep(job, found, previous)
        except DownloadError as error:
            if self._troubles.take(error):
                return SETTLED
            if error.reason not in self._unsaved:
                self._unsaved.add(error.reason)
                name = name_of(job.task)
                first = "move that away, then " if error.reason == "output-taken" else ""
                words = f"{name} is paid for but could not be saved: {error}; {first}`batchswap retry` fetches it"
                self._run.report(LogEvent.RESULT_NOT_SAVED, words, logging.WARNING, task=name, code=error.reason)
            await self._leave(job, Event.UNSAVED, error)
            return SETTLED
        else:
            return SAVED
        finally:
            for url in urls:
                self._hosts[_host_of(url)].forget(job.task.id)

    async def _is_kept(self, job: Job, previous: PreviousResult) -> bool:
        """Publish the result of an earlier run if only its name or record was missing. Return whether that worked."""
        if previous.sha256 is None or previous.size is None:
            return False
        try:
            await self._publish(job, Verified(previous.sha256, previous.size, ""), previous)
        except DownloadError as error:
            if error.final:
                raise
            return False
        return True

    async def _publish(self, job: Job, part: Verified, previous: PreviousResult) -> None:
        run = self._run
        found = await self._examining.examine(job, part)
        part = await self._signing.sign(job, part)
        await run.store.publish(job.task.output, part, replaces=previous.replaces)
        if previous.sha256 is not None:  # an earlier run had begun to deliver it
            await run.store.discard_signed(job.task.output)
        self._troubles.clear()
        await run.ledger.write(transitions.saved, job.attempt)
        run.ledger.log.note(What.SAVED, job.task, job.attempt, size=part.size, sha256=part.sha256)
        self._examining.tell(job, found)

    async def _keep(self, job: Job, part: Verified, previous: PreviousResult) -> None:
        """Record the verified part, examine and sign it, give it the final name, and record that it is done."""
        run, output = self._run, job.task.output
        await run.ledger.write(transitions.verified, job.attempt, file=output, size=part.size, sha256=part.sha256)
        await self._publish(job, part, previous)
        if words := false_ending(output, part.media_type):
            await self._note_ending(job, words)

    async def _note_ending(self, job: Job, words: str) -> None:
        """Record that the format does not match the file's ending. Report each format once."""
        run, (_, _, holds) = self._run, words.rpartition(" holds ")
        if holds not in self._endings:
            self._endings.add(holds)
            name = name_of(job.task)
            run.report(LogEvent.RESULT_TYPE, f"{name}: {words}, which does not match its ending", task=name)
        ids = {"task_id": job.task.id, "attempt_id": job.attempt.id}
        await run.ledger.write(transitions.log, "ending", **ids, state=State.DONE, detail=clean(words))

    async def _fetch(self, job: Job, urls: tuple[str, ...]) -> Verified | UrlExpired | Settled:
        """Return the checked part, or Settled if it is left to the next run. Raise DownloadError after all retries."""
        if job.has_old_url and not job.refreshed:
            return await self._refresh(
                job, DownloadError("gone", "the media URL is older than others that have expired")
            )
        kind = job.task.model.media_kind
        story = self._stories.setdefault(job.task.id, DownloadHistory())
        while True:
            found = await self._ask_all(job, likely_first(urls, kind), kind, story)
            if not isinstance(found, tuple):
                return found or SETTLED
            url, error = found
            after = self._decide(job, story, url, error)
            match after.then:
                case Then.AGAIN if await self._rest(after.seconds):
                    continue
                case Then.FRESH:
                    return await self._refresh(job, error)
                case Then.FAIL if self._may_come_later(job, error):
                    return SETTLED
                case Then.FAIL:
                    raise error
                case Then.LEAVE:
                    self._give_up(url, error)
            return SETTLED

    def _may_come_later(self, job: Job, error: DownloadError) -> bool:
        """Return whether to leave a result to the next tick, because results can be late."""
        if error.final or media_hosts.trouble_of(error.reason, final=False) is Trouble.LOCAL:
            return False
        age = 0.0 if job.ready_at is None else self._run.clock.now() - job.ready_at
        return self._run.settings.leaves and age < media_hosts.PROMISED

    async def _refresh(self, job: Job, error: DownloadError) -> UrlExpired:
        """Let the API give a new URL."""
        if job.has_old_url and not self._has_old_urls:
            self._has_old_urls = True
            words = "results have waited longer for this run than their URLs live: asking the API for new ones"
            self._run.report(LogEvent.URLS_EXPIRED, words)
        await self._leave(job, Event.STALE, error)
        return UrlExpired(msgspec.structs.replace(job, refreshed=True, has_old_url=False))

    async def _ask_all(
        self, job: Job, urls: list[str], kind: MediaKind, story: DownloadHistory
    ) -> Verified | tuple[str, DownloadError] | None:
        """Try each URL once. Return the part, the most useful failure, or None if the run ends."""
        failures: list[tuple[str, DownloadError]] = []
        for url in urls:
            host = self._hosts[_host_of(url)]
            while wait := host.claim(job.task.id, now := self._run.clock.monotonic()):
                if host.down_for(now) >= self._run.settings.patience:
                    return url, DownloadError("unavailable", "other downloads have waited for it long enough")
                if not await self._rest(wait):
                    return None
            try:
                async with self._places:
                    part = await self._run.store.fetch(
                        url, job.task.output, kind=kind, tries=story.tries + 1, remote_id=job.attempt.remote_id or ""
                    )
            except DownloadError as error:
                failures.append((url, error))
                if _is_waited_for(error):
                    break
            else:
                self._gave(url)
                return part
        return next((each for each in reversed(failures) if _is_waited_for(each[1])), failures[0])

    def _gave(self, url: str) -> None:
        name, now = _host_of(url), self._run.clock.monotonic()
        host = self._hosts[name]
        self._given[name] = now
        if host.is_shared:
            self._wake()
        if host.gave(now):
            self._run.report(LogEvent.MEDIA_HOST_AVAILABLE, f"the media host {name} answers again", host=name)
        self._run.state.note_media_trouble("")

    def away(self, seconds: float) -> None:
        """Do not count time in which the process was stopped as an outage of media hosts."""
        for host in self._hosts.values():
            host.away(seconds)

    def _wake(self) -> None:
        """Wake all waiting downloads, because a host has recovered or is given up."""
        self._better.set()
        self._better = asyncio.Event()

    def _decide(self, job: Job, story: DownloadHistory, url: str, error: DownloadError) -> Next:
        """Note a failure and return what to do next."""
        run, name, result = self._run, _host_of(url), job.task.id
        host, now, patience = self._hosts[name], run.clock.monotonic(), run.settings.patience
        trouble = media_hosts.trouble_of(error.reason, final=error.final)
        media_hosts.note(story, host, now)
        wait = min(run.backoff(story.tries), CAP)
        if trouble is Trouble.HOST:
            pause = parse_retry_after(error.retry_after, run.clock.now())
            silent = media_hosts.silence(patience) if error.reason == "timeout" else 0.0
            wait = host.failed(result, now, pause, random.random(), patience, silent)
        elif trouble is Trouble.RESULT:
            host.missed(result, now)
        if host.is_news(now):
            words = f"the media host {name} delivers no results ({clean(str(error))})"
            run.state.note_media_trouble(words)
            run.report(LogEvent.MEDIA_HOST_UNAVAILABLE, f"{words}: waiting, for --patience at most", host=name)
        may_refresh = error.stale and not job.refreshed
        return media_hosts.decide(
            trouble,
            story,
            host,
            now,
            wait,
            may_refresh=may_refresh,
            retries=run.settings.retries,
            patience=patience,
        )

    def _give_up(self, url: str, error: DownloadError) -> None:
        """Leave the result to the next run, which downloads it free of charge. Stop submits if others fail as well."""
        run, name = self._run, _host_of(url)
        words = f"the media host {name} stayed unavailable ({clean(str(error))}): the next run fetches the results"
        if name in self._given_up:
            return
        self._given_up.add(name)
        stop = Stop(Exit.UNAVAILABLE, words)
        if self._hosts[name].is_shared and run.state.submit_stop is None:
            run.state.stop_submits(stop)
        else:
            run.state.add_stop(stop)
        self._wake()

    async def _rest(self, seconds: float) -> bool:
        """Wait until the time has passed or a host has recovered. Return False if the run ends."""
        over, better = self._run.state.over, self._better
        waits = [asyncio.ensure_future(each.wait()) for each in (over, better)]
        try:
            await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        return not over.is_set()

    async def _leave(self, job: Job, event: Event, error: DownloadError) -> None:
        run = self._run
        await run.ledger.write(transitions.not_saved, job.attempt, event, code=error.reason, reason=clean(str(error)))


def _is_waited_for(error: DownloadError) -> bool:
    return media_hosts.trouble_of(error.reason, final=error.final) in (Trouble.HOST, Trouble.LOCAL)


def _host_of(url: str) -> str:
    """Return the name of a URL's host, with its port."""
    try:
        parts = urlsplit(url)
        return clean(parts.netloc.rpartition("@")[2].lower())
    except ValueError:
        return ""


def likely_first(urls: tuple[str, ...], kind: MediaKind) -> list[str]:
    """Sort URLs: endings of the wanted kind first, then unknown ones, then those of the other kind (such as covers)."""

    def rank(url: str) -> int:
        try:
            ending = PurePosixPath(urlsplit(url).path).suffix.lower()
        except ValueError:
            return 2
        if ending in _ENDINGS[kind]:
            return 0
        return 2 if any(ending in endings for endings in _ENDINGS.values()) else 1

    return sorted(urls, key=rank)
