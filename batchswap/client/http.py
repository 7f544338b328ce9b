"""Call the endpoints of the API (api.md, "Endpoints"). No request is ever repeated."""

import asyncio
import ipaddress
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from batchswap import wire
from batchswap.client.answers import (
    HIDDEN,
    LONGEST_HEADER,
    Answer,
    Body,
    open_envelope,
    parse_retry_after,
    read_body,
    unpack,
    without,
)
from batchswap.client.error_mapping import mapped, translate
from batchswap.client.request_trace import CancelledUnsent, Journey, awake, tracing
from batchswap.client.uploads import Upload
from batchswap.clock import Clock
from batchswap.errors import AccountRefused, UsageError, WireError
from batchswap.network import DIRECT, Connections, Routes
from batchswap.tasks import MediaKind, is_nameable, public

HOPS = 5
"""The number of redirects that one upload follows."""
REDIRECTS = (307, 308)
"""The redirects that keep the method and the body (RFC 9110, 15.4)."""


class Timeouts(msgspec.Struct, frozen=True):
    """Times in seconds. `submit` is longer than `answer`: ending a CreateTask too early leaves a task uncertain."""

    connect: float = 10.0
    answer: float = 60.0
    submit: float = 120.0
    stall: float = 30.0
    """The longest time without progress of an upload."""
    fresh: float = 0.25
    """The longest idle time of a kept connection before a CreateTask."""
    grace: float = 1.0
    """The time after a timeout in which an answer is still read: it may have arrived while the process was stopped."""


class Client:
    """A context manager for the connections to one API.

    Each CreateTask has its own connection: if a server closed a kept one at that moment, a task would be uncertain.
    With `keep_submits`, for providers without a rate limit, connections that were idle for a moment only are reused.

    Only the proxies of `routes` are used, and none for a plain http API, which is on this machine: it would see the
    key, and could answer in place of the API. ~/.netrc is ignored, because it would add credentials.

    The number of connections is not limited: a request that waits for one would leave later than the pacer recorded.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        clock: Clock,
        timeouts: Timeouts | None = None,
        *,
        keep_submits: bool = False,
        routes: Routes = DIRECT,
    ) -> None:
        """Raise UsageError for a base URL that would expose the key, AccountRefused for a malformed key."""
        self._base = check_base_url(base_url)
        self._key = check_key(key)
        self._clock = clock
        self._timeouts = timeouts or Timeouts()
        self._keep_submits, self._routes = keep_submits, routes

    async def __aenter__(self) -> Self:
        fresh = {"keepalive_timeout": self._timeouts.fresh} if self._keep_submits else {"force_close": True}
        self._fresh = _connections(self._routes, **fresh)
        self._kept = _connections(self._routes)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._fresh.close()
        await self._kept.close()

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        """Submit a task, which costs credits. `ref` is the attempt's id.

        After MaybeSent it is unknown whether the task was accepted. If this is cancelled before anything was sent,
        raise CancelledUnsent.
        """
        headers = {wire.IDEMPOTENCY_HEADER: ref}
        return await self._call("POST", wire.CREATE_TASK, json=body.to_json(), headers=headers)

    async def task_info(self, remote_id: str) -> Answer:
        return await self._call("GET", wire.TASK_INFO, params={"task_id": remote_id})

    async def estimate(self, body: wire.CreateTask) -> Answer:
        return await self._call("POST", wire.ESTIMATE_TASK, json=body.to_json())

    async def balance(self) -> Answer:
        return await self._call("GET", wire.BALANCE)

    async def upload_url(self, content_type: str, ext: str) -> Answer:
        """Request a URL for an upload. `ext` includes its dot (".mp4")."""
        return await self._call("GET", wire.UPLOAD_URL, params={"content_type": content_type, "ext": ext})

    async def detect(self, kind: MediaKind, url: str) -> Answer:
        path = wire.DETECT_VIDEO if kind == "video" else wire.DETECT_IMAGE
        return await self._call("POST", path, json={f"{kind}_url": url})

    async def detect_result(self, detect_task_id: str) -> Answer:
        return await self._call("GET", wire.DETECT_RESULT, params={"detect_task_id": detect_task_id})

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        """Stream a file to the storage that the API named, without the key. Its answer is rarely an envelope.

        A 307 or 308 is followed, because storages redirect uploads of a new bucket to its region. Raise InputGone if
        the file cannot be read or changes during the upload, WireError for a URL that would expose the file.
        """
        url = presigned_url
        for _ in range(HOPS + 1):
            answer = await self._put(url, path, content_type)
            if not answer.location:
                return answer
            url = _join(url, answer.location)
        raise WireError(f"the upload was redirected more than {HOPS} times ({public(presigned_url)})")

    async def _put(self, url: str, path: Path, content_type: str) -> Answer:
        if not keeps_secrets(url):
            raise WireError(f"the upload URL is neither a valid https URL nor on this machine ({public(url)})")
        upload = await Upload.open(path, self._timeouts.stall)
        headers = {"Content-Type": content_type, "Content-Length": str(upload.size)}
        timeout = aiohttp.ClientTimeout(connect=self._timeouts.connect)
        async with upload as body:
            return await self._send("PUT", url, data=body, headers=headers, timeout=timeout)

    async def _call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Answer:
        total = self._timeouts.submit if path == wire.CREATE_TASK else self._timeouts.answer
        timeout = aiohttp.ClientTimeout(connect=self._timeouts.connect)
        sent = {wire.KEY_HEADER: self._key, **(headers or {})}
        url, journey, sent_at = self._base + path, Journey(), self._clock.monotonic()
        options |= {"headers": sent, "timeout": timeout, "trace_request_ctx": journey}
        try:
            async with awake(total + self._timeouts.connect, self._timeouts.grace):
                return await self._send(method, url, **options)
        except TimeoutError:
            if journey.response is not None:
                with mapped(url):
                    return self._answer(journey.response, Body(unpack(journey.received), TimeoutError()), sent_at)
            raise translate(TimeoutError() if journey.has_begun else aiohttp.ConnectionTimeoutError(), url) from None
        except asyncio.CancelledError:
            if journey.has_begun:
                raise
            raise CancelledUnsent from None

    async def _send(self, method: str, url: str, **options: Any) -> Answer:
        connections = self._fresh if url == self._base + wire.CREATE_TASK else self._kept
        sent_at = self._clock.monotonic()
        with mapped(url):
            async with connections.request(method, _exact(url), **options) as response:
                journey = options.get("trace_request_ctx") or Journey()
                journey.response = response
                body = await read_body(response, journey.received)
            return self._answer(response, body, sent_at)

    def _answer(self, response: aiohttp.ClientResponse, body: Body, sent_at: float) -> Answer:
        """Return the answer with this body. Raise the body's fault if it ended before anything useful."""
        envelope, is_envelope, named = open_envelope(body)
        return Answer(
            status=response.status,
            code=envelope.code,
            message=envelope.message.replace(self._key, HIDDEN),
            data=without(self._key, envelope.data),
            retry_after=parse_retry_after(response.headers.get("Retry-After"), self._clock.now()),
            sent_at=sent_at,
            answered_at=self._clock.monotonic(),
            is_envelope=is_envelope,
            named=named.replace(self._key, HIDDEN),
            location=response.headers.get("Location", "") if response.status in REDIRECTS else "",
        )


def _connections(routes: Routes, **connector: Any) -> Connections:
    session = {
        "headers": {"User-Agent": "batchswap", "Accept-Encoding": "identity"},
        "middlewares": [_send_once],
        "auto_decompress": False,  # because a wrong header would lose the answer
        "max_line_size": LONGEST_HEADER,
        "max_field_size": LONGEST_HEADER,
        "trace_configs": [tracing()],
    }
    return Connections(routes, connector={**connector, "limit": 0}, session=session)


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a GET or PUT whose kept connection was closed, without the pacer.

    It repeats them only for its own exceptions, which are replaced here.
    """
    with mapped(str(request.url)):
        return await handler(request)


def _exact(url: str) -> URL:
    """Return the URL without quoting it again if possible, because that would break a signature."""
    return URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)


def _join(url: str, location: str) -> str:
    """Return the target of an upload's redirect. Raise WireError for another scheme or an invalid URL."""
    try:
        base = _exact(url)
        found = base.join(_exact(location))
    except ValueError:
        raise WireError(f"the upload was redirected to an invalid URL ({public(url)})") from None
    if found.scheme != base.scheme:
        raise WireError(f"the upload was redirected from {base.scheme} to {found.scheme} ({public(url)})")
    return str(found)


def check_key(key: str) -> str:
    """Return the key if a header can carry it. The error message does not repeat it."""
    if not 1 <= len(key) <= 512 or not all("!" <= c <= "~" for c in key):
        raise AccountRefused("the API key is missing or malformed")
    return key


def check_base_url(url: str) -> str:
    """Return the base URL without its last slash if it does not expose the key. Raise UsageError."""
    if _names_user(url):
        raise UsageError(f"the base URL must not have a user or password: {public(url)}")
    if not is_nameable(_host_of(url)):
        raise UsageError(f"the base URL's host has an empty part, or a part of more than 63 letters: {public(url)}")
    if not keeps_secrets(url):
        raise UsageError(f"the base URL must be https, or http on this machine: {public(url)}")
    if "?" in url or "#" in url:
        raise UsageError(f'the base URL must not have a "?" or "#", because paths are appended to it: {public(url)}')
    return url.rstrip("/")


def _names_user(url: str) -> bool:
    with suppress(ValueError):
        found = _exact(url)
        return found.user is not None or found.password is not None
    return False


def _host_of(url: str) -> str:
    """Return the host as it is looked up; "" if there is none."""
    with suppress(ValueError):
        return _exact(url).raw_host or ""
    return ""


def keeps_secrets(url: str) -> bool:
    """Return whether others cannot read data that is sent to a URL: https, or http to this machine, without a user."""
    host = _host_of(url)
    if not host or not is_nameable(host) or _names_user(url):
        return False
    scheme = _exact(url).scheme
    return scheme == "https" or (scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Return whether a host is a name or address of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
