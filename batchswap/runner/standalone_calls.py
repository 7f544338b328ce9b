"""Free calls outside of a run. They use the key's shared window, and are retried."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from batchswap import verdicts, wire
from batchswap.client import Answer, Client
from batchswap.clock import SystemClock
from batchswap.errors import (
    AccountRefused,
    ApiUnavailable,
    BatchswapError,
    MaybeSent,
    NeverSent,
    ProxyFailed,
    ProxyUnavailable,
    UsageError,
)
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.network import routes_of
from batchswap.ratelimit.shared_window import NoWindow, SharedWindow
from batchswap.runner.prepare import detection
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.prepare.uploads import UNKNOWN_TYPE, check_unchanged, content_type_of, place_for
from batchswap.runner.run import Account, open_pacer
from batchswap.runner.stop_reasons import refusal_words
from batchswap.settings import Settings
from batchswap.tasks import MediaKind
from batchswap.verdicts import Kind, Verdict

_LOG = logging.getLogger(__name__)
LONGEST = 30.0
"""Longest wait in seconds for a place in the window. A run waits longer."""
PATIENCE = 60.0
"""Seconds for one call, including its retries."""
SILENCE = 5.0
"""Seconds after which a message explains the wait."""

ClientCall = Callable[[Client], Awaitable[Answer]]


class FreeCalls:
    """Calls that cost nothing and may be repeated."""

    def __init__(self, client: Client, pacer: SharedWindow | NoWindow, tries: int, host: str) -> None:
        self._client, self._pacer, self._tries, self._host = client, pacer, tries, host
        self._trouble = ""
        """The last reason why a call had no answer."""
        self._unavailable = ApiUnavailable

    async def ask(self, call: ClientCall) -> Answer:
        """Return a good answer.

        Raise AccountRefused, ApiUnavailable, UsageError for a 422, or BatchswapError for any other refusal.
        """
        answer, verdict = await self.call(call)
        if verdict.kind is not Kind.OK:
            refused = UsageError if verdict.kind is Kind.REJECTED else BatchswapError
            raise refused(f"the API refused the call: {answer.message or verdict.kind.value} ({verdict.code})")
        return answer

    async def call(self, call: ClientCall) -> tuple[Answer, Verdict]:
        """Return the answer and its verdict: OK, MISSING, REJECTED or NO_CREDITS. Raise as `ask` does without one."""
        self._trouble, self._unavailable = "", ApiUnavailable
        words = f"waiting for {self._host}, for {PATIENCE:g} s at most"
        notice = asyncio.get_running_loop().call_later(SILENCE, lambda: _LOG.warning(words))
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._try(call)
        except TimeoutError:
            why = self._trouble or "it accepts the connection but does not answer"
            raise self._unavailable(f"the API did not answer within {PATIENCE:g} s: {why}") from None
        finally:
            notice.cancel()

    async def _try(self, call: ClientCall) -> tuple[Answer, Verdict]:
        for tries in range(1, self._tries + 1):
            await self._turn()
            try:
                answer = await call(self._client)
            except (NeverSent, MaybeSent) as error:
                self._trouble = str(error)
                self._unavailable = ProxyUnavailable if isinstance(error, ProxyFailed) else ApiUnavailable
            else:
                self._unavailable = ApiUnavailable
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
        raise self._unavailable(f"the API cannot be reached: {self._trouble}")

    async def upload(self, path: Path) -> str:
        """Upload a file and return its URL at the API. Raise BatchswapError."""
        content_type = content_type_of(path)
        if content_type is None:
            raise UsageError(f"{path}: {UNKNOWN_TYPE}")
        try:
            digest = await asyncio.to_thread(hash_file, path)
            answer = await self.ask(lambda client: client.upload_url(content_type, path.suffix.lower()))
            place = place_for(path, answer)
            stored = await self._client.put_file(place.presigned_url, path, content_type)
            if not 200 <= stored.status < 300:
                raise BatchswapError(f"{path}: the upload failed with HTTP status {stored.status}")
            await check_unchanged(path, digest)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        except TaskInvalid as invalid:
            raise BatchswapError(invalid.reason) from None
        return place.file_url

    async def detect(self, kind: MediaKind, url: str) -> wire.Detection:
        """Return the faces of a target. Raise UsageError if the API finds none, BatchswapError if it takes too long."""
        answer = await self.ask(lambda client: client.detect(kind, url))
        detect_task_id = wire.DetectAccepted.from_json(answer.data).detect_task_id
        if detect_task_id is None:
            raise BatchswapError("the API did not start the face detection")
        waited, wait = 0.0, detection.FIRST
        while waited < detection.PATIENCE:
            await asyncio.sleep(wait)
            waited, wait = waited + wait, min(wait * detection.GROWTH, detection.LONGEST)
            answer = await self.ask(lambda client: client.detect_result(detect_task_id))
            found = wire.Detection.from_json(answer.data)
            if found.status == wire.SUCCEEDED and found.detect_id is not None:
                return found
            if found.status in (wire.SUCCEEDED, wire.FAILED):
                raise UsageError(f"no faces were detected: {found.error or 'the API gives no reason'}")
        raise BatchswapError(f"the face detection did not finish within {detection.PATIENCE / 60:g} min")

    async def _turn(self) -> None:
        waited = 0.0
        while wait := self._pacer.claim():
            waited += wait
            if waited > LONGEST:
                raise ApiUnavailable("other requests use up the key's limit, or the API requested a long pause")
            await asyncio.sleep(wait)


@asynccontextmanager
async def free_calls(settings: Settings, account: Account, *, tries: int = 3) -> AsyncIterator[FreeCalls]:
    """Open a client for free calls to the account's API."""
    clock = SystemClock()
    with closing(open_pacer(settings, account, clock, patience=LONGEST)) as pacer:
        async with Client(account.base_url, account.key, clock, routes=routes_of(settings.proxy)) as client:
            yield FreeCalls(client, pacer, tries, account.base_url)
