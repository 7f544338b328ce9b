"""Receiver for the callbacks of the API, with one unguessable path per attempt.

The API does not sign callbacks (docs/api.md, `callback_url`), so the path has an HMAC of the attempt's ref. The reader
of the queue checks whether the task id and the inputs in the body belong to the attempt.
"""

import asyncio
import hmac
import logging
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiolimiter import AsyncLimiter

from batchswap.errors import UsageError, WireError
from batchswap.wire import TaskInfo, read

LARGEST = 256 * 1024
"""Bytes of a body."""

WAITING = 10_000
"""Maximum deliveries in the queue. Further ones are answered with 503, and the API may repeat them."""

STRANGERS = (20, 1.0)
"""Requests with wrong paths that are answered with 404, and the period in seconds. Further ones get 429."""

_TOKEN_DIGITS = 32  # 128 bits


@dataclass(frozen=True)
class Delivery:
    """One delivery for the attempt `ref`. It can be repeated, late or out of order.

    The reader sets `recorded` once the ledger has it. Only then does the receiver answer with 200.
    """

    ref: str
    info: TaskInfo
    recorded: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)


def token(secret: bytes, ref: str) -> str:
    """Return 32 hex digits that cannot be computed for this attempt without the secret."""
    return hmac.new(secret, ref.encode(), "sha256").hexdigest()[:_TOKEN_DIGITS]


def callback_url(public_base: str, secret: bytes, ref: str) -> str:
    """Return the callback URL of an attempt. `ref` is its UUID, `public_base` the receiver's public address."""
    return f"{public_base.rstrip('/')}/{ref}/{token(secret, ref)}"


class Receiver:
    """Listen for callbacks while open, as a context manager, and put them into `deliveries`. `port` is set on entry."""

    def __init__(self, secret: bytes, *, host: str = "127.0.0.1", port: int = 0, patience: float = 10.0) -> None:
        """Take a secret of at least 16 bytes. Keep it after the run, so that late deliveries are still recognised.

        `patience` is the longest time in seconds for a body to arrive, and for a delivery to be recorded.
        """
        if len(secret) < 16:
            raise UsageError("the secret of the callback paths is too short")
        self.deliveries: asyncio.Queue[Delivery] = asyncio.Queue(WAITING)
        self.host, self.port = host, port
        self._secret, self._patience = secret, patience
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._strangers = AsyncLimiter(*STRANGERS)
        application = web.Application(client_max_size=LARGEST)
        application.router.add_route("*", "/{path:.*}", self._receive)
        # No access log: a path contains the token.
        self._runner = web.AppRunner(application, access_log=None, logger=_LOG, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or "unusable"
            raise UsageError(f"cannot listen for callbacks on {self.host}:{self.port}: {reason}") from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        while not self.deliveries.empty():
            self.deliveries.get_nowait().recorded.set()
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        ref = self._attempt(request.match_info["path"])
        if ref is None:
            return await self._turn_away()
        info = await _read(request, self._patience)
        if info is None:
            return web.Response(status=400)
        is_recorded = await self._hand_over(Delivery(ref, info))
        return web.Response(status=200) if is_recorded else web.Response(status=503, headers={"Retry-After": "60"})

    async def _hand_over(self, delivery: Delivery) -> bool:
        """Return whether the delivery was recorded. The API does not repeat what was answered with 200."""
        try:
            self.deliveries.put_nowait(delivery)
            async with asyncio.timeout(self._patience):
                await delivery.recorded.wait()
        except (asyncio.QueueFull, TimeoutError):
            return False
        return not self._is_over

    def _attempt(self, path: str) -> str | None:
        """Return the ref of a path with a valid token, else None. A proxy may have added a prefix.

        Every path takes the same work, so that the time of the answer reveals nothing.
        """
        ref, _, given = ("/" + path).rpartition("/")
        ref = ref.rpartition("/")[2]
        proven = hmac.compare_digest(token(self._secret, ref).encode(), given.encode())
        return ref if proven and ref else None

    async def _turn_away(self) -> web.Response:
        """Answer a wrong path with 404, or with 429 when there are many. Valid deliveries are not slowed down."""
        if not self._strangers.has_capacity():
            return web.Response(status=429)
        await self._strangers.acquire()
        return web.Response(status=404)


async def _read(request: web.Request, patience: float) -> TaskInfo | None:
    """Return the JSON object in the body; None if there is none in time. aiohttp answers a large body with 413."""
    try:
        async with asyncio.timeout(patience):
            body = read(await request.read())
    except (TimeoutError, WireError):
        return None
    return TaskInfo.from_callback(body) if isinstance(body, dict) else None


def _is_showable(record: logging.LogRecord) -> bool:
    """Leave out the messages of aiohttp about malformed requests, because they repeat bytes of the sender."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


_LOG = logging.getLogger(__name__)
_LOG.addFilter(_is_showable)
