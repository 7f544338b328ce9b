"""From HTTP to an ApiRequest and back to an envelope: API keys, the rate limit and error responses."""

import asyncio
import hashlib
import hmac
import itertools
import logging
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate

import msgspec
from aiohttp import web

from batchswap import wire
from batchswap.errors import Refusal
from batchswap.local.faults import Fault, Moment
from batchswap.local.server.context import ApiRequest, ServerContext
from batchswap.local.server.routes.endpoints import ENDPOINTS, create_task

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
SIMULATED = "simulated fault"
HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:\d{1,5})?")


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def simulated_429(turn: int, now: float) -> Refusal:
    """Return each known form of a 429 in turn (api.md, "Transport"): with seconds, a date, neither, or as HTTP 200."""
    date = formatdate(math.ceil(now) + 1, usegmt=True)
    forms: tuple[tuple[int, str | None], ...] = ((429, "1"), (429, date), (429, None), (200, None))
    status, retry_after = forms[turn % len(forms)]
    return Refusal(429, SIMULATED, status=status, retry_after=retry_after)


class RequestWindow:
    """A sliding window: at most `limit` requests in any `period` seconds. A refused request does not count."""

    def __init__(self, limit: int, period: float) -> None:
        self.limit, self.period = limit, period
        self._taken: deque[float] = deque()

    def claim(self, now: float) -> float:
        """Count a request and return 0.0, or return the seconds until there is room for it."""
        while self._taken and self._taken[0] + self.period <= now:
            self._taken.popleft()
        if len(self._taken) >= self.limit:
            return self._taken[0] + self.period - now
        self._taken.append(now)
        return 0.0


class ApiHandler:
    """Answers all API requests. `own_url` is the base URL of the server from its own point of view."""

    def __init__(self, context: ServerContext, keys: tuple[str, ...], own_url: str) -> None:
        self._context, self._own_url = context, own_url
        rate = context.settings.rate
        self._windows = {digest(key): RequestWindow(*rate) if rate else None for key in keys}
        self._keys = tuple(self._windows)
        self._turns = itertools.count()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request with an envelope, whose `code` is also the HTTP status."""
        return await envelope(request, self._carry_out)

    async def _carry_out(self, request: web.Request) -> web.Response:
        self._admit(request)
        endpoint = ENDPOINTS.get((request.method, request.path))
        if endpoint is None:
            raise Refusal(404, "there is no such endpoint")
        raw = await read_body(request, self._context.settings.receive_timeout) if request.method == "POST" else b""
        call = ApiRequest(
            query=dict(request.query),
            body=decode_body(raw) if raw else {},
            base_url=self.base_url(request),
            raw_body=raw,
            idempotency_key=_read_idempotency_key(request),
        )
        data = await endpoint(self._context, call)
        if endpoint is create_task and self._context.tasks.schedule.draw(Moment.ANSWER) and request.transport:
            request.transport.abort()  # accepted, but the response is lost
        return _pack(wire.OK, wire.Envelope(wire.OK, "success", data))

    def _admit(self, request: web.Request) -> None:
        """Raise Refusal 401, 429, 455 or a simulated fault."""
        given = digest(request.headers.get(wire.KEY_HEADER, ""))
        if not any(hmac.compare_digest(given, key) for key in self._keys):
            raise Refusal(401, "the API key is missing or invalid")
        if (window := self._windows[given]) and (wait := window.claim(self._context.clock.monotonic())):
            raise Refusal(429, "rate limited", retry_after=str(math.ceil(wait)))
        if self._context.maintenance:
            raise Refusal(455, "under maintenance")
        if fault := self._context.tasks.schedule.draw(Moment.REQUEST):
            if fault.kind is Fault.RATE_LIMITED:
                raise simulated_429(next(self._turns), self._context.clock.now())
            raise Refusal(int(fault.kind), SIMULATED)

    def base_url(self, request: web.Request) -> str:
        """Return the server's URL for this caller. Only a server on all addresses relies on the Host header."""
        if self._context.settings.is_wildcard and HOST.fullmatch(request.host):
            return f"http://{request.host}"
        return self._own_url


async def read_body(request: web.Request, seconds: float) -> bytes:
    """Read a body. Raises Refusal 422 when it is too large or does not arrive within `seconds`."""
    too_large = Refusal(422, f"the body is larger than {MAX_BODY:,} bytes")
    if (request.content_length or 0) > MAX_BODY:
        raise too_large
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except TimeoutError:
        raise Refusal(422, f"the body did not arrive within {seconds:g} s") from None
    except (web.RequestPayloadError, ConnectionError, asyncio.IncompleteReadError):
        raise Refusal(422, "the body was cut off") from None


def decode_body(raw: bytes) -> dict[str, object]:
    """Decode a JSON object. Raises Refusal 422 for anything else."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(422, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise Refusal(422, "the body must be a JSON object")
    return found


def _read_idempotency_key(request: web.Request) -> str | None:
    found = request.headers.get(wire.IDEMPOTENCY_HEADER)
    if found is not None and wire.usable_id(found) is None:
        raise Refusal(422, f"{wire.IDEMPOTENCY_HEADER}: must be 1 to 256 printable ASCII characters")
    return found


async def envelope(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Return the handler's response, or an envelope with the error."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refuse(refusal)
    except Exception:  # the last resort: a bug, or a full disk
        log.exception("%s %s failed", request.method, request.path)
        return refuse(Refusal(500, "internal error of the local server: see its log"))


def refuse(refusal: Refusal) -> web.Response:
    """Return an envelope without data."""
    answer = _pack(refusal.status, wire.Envelope(refusal.code, refusal.message))
    if refusal.retry_after is not None:
        answer.headers["Retry-After"] = refusal.retry_after
    return answer


def _pack(status: int, answer: wire.Envelope) -> web.Response:
    return web.Response(status=status, body=answer.encode(), content_type="application/json")
