"""One free call outside of a run: within the key's window like every other request, tried again while that may help."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from batchswap import verdicts, wire
from batchswap.client import Answer, Client
from batchswap.clock import SystemClock
from batchswap.errors import AccountRefused, ApiUnavailable, BatchswapError, MaybeSent, NeverSent, UsageError
from batchswap.ratelimit.shared_window import NoWindow, SharedWindow
from batchswap.runner.prepare import detection
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.prepare.uploads import check_unchanged, content_type_of, hash_file, place_for
from batchswap.runner.run import Account, open_pacer
from batchswap.runner.stop_reasons import refusal_words
from batchswap.settings import Settings
from batchswap.tasks import MediaKind
from batchswap.verdicts import Kind, Verdict

_LOG = logging.getLogger(__name__)
LONGEST = 30.0
"""Seconds that a person waits for one call to be let through; a run is more patient."""
PATIENCE = 60.0
"""Seconds for one call with all its tries."""
SILENCE = 5.0
"""Seconds after which it is said what is waited for."""

ClientCall = Callable[[Client], Awaitable[Answer]]


class Errands:
    """Calls that may be repeated."""

    def __init__(self, client: Client, pacer: SharedWindow | NoWindow, tries: int, host: str) -> None:
        self._client, self._pacer, self._tries, self._host = client, pacer, tries, host
        self._trouble = ""
        """What kept the last call from its answer."""

    async def ask(self, call: ClientCall) -> Answer:
        """A good answer. Raises AccountRefused, ApiUnavailable, UsageError for a 422, BatchswapError for the rest."""
        answer, verdict = await self.hear(call)
        if verdict.kind is not Kind.OK:
            refused = UsageError if verdict.kind is Kind.REJECTED else BatchswapError
            raise refused(f"the API says {answer.message or verdict.kind.value} ({verdict.code})")
        return answer

    async def hear(self, call: ClientCall) -> tuple[Answer, Verdict]:
        """Whatever the API has to say about it: OK, MISSING, REJECTED, NO_CREDITS. Raises as `ask`."""
        self._trouble = ""
        words = f"waiting for {self._host}, for {PATIENCE:g} s at most"
        speaking = asyncio.get_running_loop().call_later(SILENCE, lambda: _LOG.warning(words))
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._try(call)
        except TimeoutError:
            why = self._trouble or "it takes the call and does not answer"
            raise ApiUnavailable(f"the API cannot be reached in {PATIENCE:g} s: {why}") from None
        finally:
            speaking.cancel()

    async def _try(self, call: ClientCall) -> tuple[Answer, Verdict]:
        for tries in range(1, self._tries + 1):
            await self._turn()
            try:
                answer = await call(self._client)
            except (NeverSent, MaybeSent) as error:
                self._trouble = str(error)
            else:
                verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
                match verdict.kind:
                    case Kind.ACCOUNT_REFUSED:
                        raise AccountRefused(refusal_words(verdict.code))
                    case Kind.RATE_LIMITED:
                        pause = verdicts.clamp_retry_after(answer.retry_after, verdicts.backoff(tries, 0.5))
                        self._pacer.pushed_back(answer.sent_at, pause)
                        self._trouble = "429, too many requests"
                        continue
                    case Kind.MAINTENANCE:
                        raise ApiUnavailable("the API is under maintenance (455)")
                    case Kind.TROUBLE:
                        self._trouble = f"it answers with an error ({verdict.code})"
                    case _:
                        return answer, verdict
            if tries < self._tries:
                await asyncio.sleep(verdicts.backoff(tries, 0.5, first=0.5))
        raise ApiUnavailable(f"the API cannot be reached: {self._trouble}")

    async def upload(self, path: Path) -> str:
        """The URL that the API knows a file by from now on. Raises BatchswapError."""
        content_type = content_type_of(path)
        if content_type is None:
            raise UsageError(f"{path}: its ending does not say what kind of file it is")
        try:
            digest = await asyncio.to_thread(hash_file, path)
            answer = await self.ask(lambda client: client.upload_url(content_type, path.suffix.lower()))
            place = place_for(path, answer)
            stored = await self._client.put_file(place.presigned_url, path, content_type)
            if not 200 <= stored.status < 300:
                raise BatchswapError(f"{path}: the upload was answered with {stored.status}")
            await check_unchanged(path, digest)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        except TaskInvalid as invalid:
            raise BatchswapError(invalid.reason) from None
        return place.file_url

    async def detect(self, kind: MediaKind, url: str) -> wire.Detection:
        """The faces of a target. Raises UsageError when the API finds none, BatchswapError when it finds no end."""
        answer = await self.ask(lambda client: client.detect(kind, url))
        detect_task_id = wire.DetectAccepted.from_json(answer.data).detect_task_id
        if detect_task_id is None:
            raise BatchswapError("the API did not begin to detect faces")
        waited, wait = 0.0, detection.FIRST
        while waited < detection.PATIENCE:
            await asyncio.sleep(wait)
            waited, wait = waited + wait, min(wait * detection.GROWTH, detection.LONGEST)
            answer = await self.ask(lambda client: client.detect_result(detect_task_id))
            found = wire.Detection.from_json(answer.data)
            if found.status == wire.SUCCEEDED and found.detect_id is not None:
                return found
            if found.status in (wire.SUCCEEDED, wire.FAILED):
                raise UsageError(f"no faces were detected: {found.error or 'the API does not say why'}")
        raise BatchswapError(f"the detection did not end within {detection.PATIENCE / 60:g} min")

    async def _turn(self) -> None:
        waited = 0.0
        while wait := self._pacer.claim():
            waited += wait
            if waited > LONGEST:
                raise ApiUnavailable("the key's limit is used up by other requests, or the API asked for a long pause")
            await asyncio.sleep(wait)


@asynccontextmanager
async def errands(settings: Settings, account: Account, *, tries: int = 3) -> AsyncIterator[Errands]:
    """Ready to ask the account's API."""
    clock = SystemClock()
    with closing(open_pacer(settings, account, clock, patience=LONGEST)) as pacer:
        async with Client(account.base_url, account.key, clock) as client:
            yield Errands(client, pacer, tries, account.base_url)
