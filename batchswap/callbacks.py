"""Where the API says that a task has ended: one unguessable path per attempt, and nothing else.

The API signs nothing (api.md, `callback_url`), so the path carries an HMAC of the attempt's ref. What a delivery says
is data: whether its task id and inputs are the attempt's is for the reader of the queue to judge.
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
"""Deliveries that may wait to be read; more are answered 503, and the API may come again."""

STRANGERS = (20, 1.0)
"""Wrong paths that get an answer of their own, and the seconds in which."""

_TOKEN_DIGITS = 32  # 128 bits


@dataclass(frozen=True)
class Delivery:
    """One delivery for the attempt `ref`. The same may come twice, late, or in another order.

    Who reads it sets `recorded` when it is worked off: only then is the API told that it has come.
    """

    ref: str
    info: TaskInfo
    recorded: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)


def token(secret: bytes, ref: str) -> str:
    """32 hex digits that only we can make for this attempt."""
    return hmac.new(secret, ref.encode(), "sha256").hexdigest()[:_TOKEN_DIGITS]


def callback_url(public_base: str, secret: bytes, ref: str) -> str:
    """What CreateTask is given for the attempt. `ref`: a UUID; `public_base`: where the API reaches the receiver."""
    return f"{public_base.rstrip('/')}/{ref}/{token(secret, ref)}"


class Receiver:
    """A context manager: while it is open, deliveries go into `deliveries`. `port` is known once it is open."""

    def __init__(self, secret: bytes, *, host: str = "127.0.0.1", port: int = 0, patience: float = 10.0) -> None:
        """`secret` must outlive the run, or late deliveries for its attempts are strangers. At least 16 bytes.

        `patience` in seconds: how long a body may take to arrive, and how long the API waits until it is recorded.
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
        # No log may show a path: it holds the token.
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
        """Whether it was worked off: what is answered with 200 never comes again."""
        try:
            self.deliveries.put_nowait(delivery)
            async with asyncio.timeout(self._patience):
                await delivery.recorded.wait()
        except (asyncio.QueueFull, TimeoutError):
            return False
        return not self._is_over

    def _attempt(self, path: str) -> str | None:
        """The ref that the path proves. A proxy may have put its own path before ours.

        Whatever is wrong with a path, the same work is done for it: a token is made and compared.
        """
        ref, _, given = ("/" + path).rpartition("/")
        ref = ref.rpartition("/")[2]
        proven = hmac.compare_digest(token(self._secret, ref).encode(), given.encode())
        return ref if proven and ref else None

    async def _turn_away(self) -> web.Response:
        """404 as long as strangers are few. Deliveries with a good token are never held up by them."""
        if not self._strangers.has_capacity():
            return web.Response(status=429)
        await self._strangers.acquire()
        return web.Response(status=404)


async def _read(request: web.Request, patience: float) -> TaskInfo | None:
    """The body's JSON object; None when it is not one, or did not come in time. Too large a body is answered 413."""
    try:
        async with asyncio.timeout(patience):
            body = read(await request.read())
    except (TimeoutError, WireError):
        return None
    return TaskInfo.from_callback(body) if isinstance(body, dict) else None


def _is_showable(record: logging.LogRecord) -> bool:
    """Not what aiohttp says of a malformed request: it repeats the bytes, and anybody can send such."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


_LOG = logging.getLogger(__name__)
_LOG.addFilter(_is_showable)
