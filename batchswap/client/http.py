"""The calls of api.md, "Endpoints". Each is one request on the wire, whatever happens to it."""

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
from batchswap.tasks import MediaKind, is_nameable, public

HOPS = 5
"""Redirects of one upload that are followed."""
REDIRECTS = (307, 308)
"""Those that keep the method and the body (RFC 9110, 15.4)."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. `submit` is longer than `answer`: a CreateTask given up too early leaves a task uncertain."""

    connect: float = 10.0
    answer: float = 60.0
    submit: float = 120.0
    stall: float = 30.0
    """How long an upload may stand still."""
    fresh: float = 0.25
    """How long a connection may have been idle to carry a CreateTask, where connections are kept for them."""
    grace: float = 1.0
    """How long after its time-out an answer is still read: it may have come while the process was stopped."""


class Client:
    """A context manager around the connections to one API.

    Each CreateTask has a connection of its own: a server that closes a kept one at that moment would leave a task
    uncertain. With `keep_submits`, for providers without a limit, one that was idle for a moment only is used again.
    Nothing is taken from the environment (proxies,
    ~/.netrc): a proxy would see the key of a plain http provider, and answer in the API's name when there was no
    connection; netrc would add credentials.
    The number of connections is not limited here: who waits for one would send later than the pacer believes.
    """

    def __init__(
        self, base_url: str, key: str, clock: Clock, timeouts: Timeouts | None = None, *, keep_submits: bool = False
    ) -> None:
        """Raises UsageError for a base URL that would show the key, AccountRefused for a key that cannot be one."""
        self._base = check_base_url(base_url)
        self._key = check_key(key)
        self._clock = clock
        self._timeouts = timeouts or Timeouts()
        self._keep_submits = keep_submits

    async def __aenter__(self) -> Self:
        fresh = {"keepalive_timeout": self._timeouts.fresh} if self._keep_submits else {"force_close": True}
        self._fresh = _session(aiohttp.TCPConnector(**fresh, limit=0))
        self._kept = _session(aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._fresh.close()
        await self._kept.close()

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        """`ref` is the attempt's id. Costs credits: MaybeSent means that nobody knows whether it was accepted.

        When cancelled before anything was sent, raises CancelledUnsent.
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
        """`ext` with its dot (".mp4")."""
        return await self._call("GET", wire.UPLOAD_URL, params={"content_type": content_type, "ext": ext})

    async def detect(self, kind: MediaKind, url: str) -> Answer:
        path = wire.DETECT_VIDEO if kind == "video" else wire.DETECT_IMAGE
        return await self._call("POST", path, json={f"{kind}_url": url})

    async def detect_result(self, detect_task_id: str) -> Answer:
        return await self._call("GET", wire.DETECT_RESULT, params={"detect_task_id": detect_task_id})

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        """Stream a file to the store that the API named. The store never sees the key; its body is seldom an envelope.

        A 307 or 308 is followed: stores send a new bucket's uploads to its region so. Raises InputGone when the file
        cannot be read or changes on the way, WireError for a URL that shows the file to the network.
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
            raise WireError(f"the upload URL is neither a good https one nor on this machine ({public(url)})")
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
        session = self._fresh if url == self._base + wire.CREATE_TASK else self._kept
        sent_at = self._clock.monotonic()
        with mapped(url):
            async with session.request(method, _exact(url), allow_redirects=False, **options) as response:
                journey = options.get("trace_request_ctx") or Journey()
                journey.response = response
                body = await read_body(response, journey.received)
            return self._answer(response, body, sent_at)

    def _answer(self, response: aiohttp.ClientResponse, body: Body, sent_at: float) -> Answer:
        """Return what the body says. Raises its fault when it broke off before it said anything."""
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


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "batchswap", "Accept-Encoding": "identity"},
        middlewares=[_send_once],
        auto_decompress=False,  # a wrong label must not cost the answer
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        trace_configs=[tracing()],
        trust_env=False,
    )


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp by itself repeats a GET or PUT whose kept connection was closed; the pacer would not know of it.

    It does so for its own exceptions only, and these end here.
    """
    with mapped(str(request.url)):
        return await handler(request)


def _exact(url: str) -> URL:
    """The URL as it was given where that is possible: quoting a signed one anew would break its signature."""
    return URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)


def _join(url: str, location: str) -> str:
    """Where a redirect of an upload leads. Raises WireError for another scheme, and for no URL."""
    try:
        base = _exact(url)
        found = base.join(_exact(location))
    except ValueError:
        raise WireError(f"the upload was redirected to no URL ({public(url)})") from None
    if found.scheme != base.scheme:
        raise WireError(f"the upload was redirected from {base.scheme} to {found.scheme} ({public(url)})")
    return str(found)


def check_key(key: str) -> str:
    """The key, if a header can carry it. The message never repeats it."""
    if not 1 <= len(key) <= 512 or not all("!" <= c <= "~" for c in key):
        raise AccountRefused("the API key is missing or malformed")
    return key


def check_base_url(url: str) -> str:
    """The base URL without its last slash, if the key is safe on the way there."""
    if _names_user(url):
        raise UsageError(f"the base URL must not have a user or password: {public(url)}")
    if not is_nameable(_host_of(url)):
        raise UsageError(f"the base URL's host has an empty part, or one of more than 63 letters: {public(url)}")
    if not keeps_secrets(url):
        raise UsageError(f"the base URL must be https, or http on this machine: {public(url)}")
    if "?" in url or "#" in url:
        raise UsageError(f'the base URL must not have a "?" or "#": paths are put behind it: {public(url)}')
    return url.rstrip("/")


def _names_user(url: str) -> bool:
    with suppress(ValueError):
        found = _exact(url)
        return found.user is not None or found.password is not None
    return False


def _host_of(url: str) -> str:
    """As it is asked for; "" where there is none."""
    with suppress(ValueError):
        return _exact(url).raw_host or ""
    return ""


def keeps_secrets(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or http to this machine. No user in the URL."""
    host = _host_of(url)
    if not host or not is_nameable(host) or _names_user(url):
        return False
    scheme = _exact(url).scheme
    return scheme == "https" or (scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """A name or address of this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
