"""Fetch inputs and post callbacks: http(s) only, with limits on addresses, time and size."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from batchswap.errors import Refusal
from batchswap.network import DIRECT, Connections, ProxyFault, Routes

MAX_REDIRECTS = 5
CHUNK = 64 * 1024
POST_TIMEOUT = 10.0
PRIVATE = "the address is private"


class Reach(Enum):
    """The addresses that a server may use."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    """Public addresses, and this machine's own."""
    ALL = "all"

    def has(self, address: str) -> bool:
        """Return whether it includes a literal address. It never includes one that cannot be parsed."""
        return self is Reach.ALL or is_public(address) or (self is Reach.LOOPBACK and is_loopback(address))


class ReachResolver(AbstractResolver):
    """Resolves names, but only to addresses within reach."""

    def __init__(self, reach: Reach) -> None:
        self._inner, self._reach = ThreadedResolver(), reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        reached = [each for each in found if self._reach.has(each["host"])]
        if not reached:
            raise OSError(PRIVATE)
        return reached

    async def close(self) -> None:
        await self._inner.close()


CARRIERS = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/32")))
"""IPv6 addresses that contain an IPv4 address as their destination: NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), Teredo
(RFC 4380), and the mapped, compatible and translated forms that begin with zeros (RFC 4291, 2.5.5; RFC 7915)."""
ASSIGNED = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",
            "192.88.99.0/24",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
            "100::/32",
            "fec0::/10",
        ),
    )
)
"""Addresses of protocols, relays, documentation and routers, but not of hosts (RFC 6890 and its registries). Python's
own lists differ between versions."""


def is_public(address: str) -> bool:
    """Return whether a literal address is one host on the internet. False if it contains another address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    is_special = any(found.version == each.version and found in each for each in (*CARRIERS, *ASSIGNED))
    return found.is_global and not (found.is_multicast or found.is_reserved or is_special or _is_isatap(found))


def is_loopback(address: str) -> bool:
    """Return whether a literal address is this machine's own, in its plain form."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_loopback and getattr(found, "ipv4_mapped", None) is None


def _is_isatap(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether the last four bytes are an IPv4 address, as in RFC 5214."""
    return found.version == 6 and found.packed[9:12] == b"\x00\x5e\xfe" and found.packed[8] in (0, 2)


class Fetcher:
    """Fetches and posts. `reach` also limits redirects and resolved names."""

    def __init__(self, timeout: float, limit: int, reach: Reach, routes: Routes = DIRECT) -> None:
        session = {"timeout": aiohttp.ClientTimeout(total=timeout), "auto_decompress": False}
        self._connections = Connections(
            routes, connector={"limit": 32}, direct={"resolver": ReachResolver(reach)}, session=session
        )
        self._timeout, self._limit, self._reach = timeout, limit, reach

    async def close(self) -> None:
        await self._connections.close()

    async def fetch(self, url: str) -> AsyncGenerator[bytes, None]:
        """Yield the content of `url`. Raises Refusal 422 with a reason that does not repeat the URL."""
        try:
            async with self._open("GET", URL(url)) as response:
                if response.status != 200:
                    raise Refusal(422, f"cannot be fetched: HTTP {response.status}")
                if (response.content_length or 0) > self._limit:
                    raise Refusal(422, f"the file is larger than {self._limit:,} bytes")
                async for chunk in response.content.iter_chunked(CHUNK):
                    yield chunk
        except TimeoutError:
            raise Refusal(422, f"cannot be fetched within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Refusal(422, f"cannot be fetched: {_reason(error)}") from None

    async def post(self, url: str, body: bytes) -> bool:
        """Post JSON and return whether the server at `url` accepted it."""
        try:
            async with asyncio.timeout(POST_TIMEOUT), self._open("POST", URL(url), data=body) as response:
                return response.status < 300
        except (aiohttp.ClientError, OSError, ValueError, Refusal):
            return False

    @asynccontextmanager
    async def _open(self, method: str, url: URL, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request. Redirects are followed here, because every step must be checked."""
        for _ in range(MAX_REDIRECTS):
            self._check(url)
            headers = {"Content-Type": "application/json"} if more else None
            async with self._connections.request(method, url, headers=headers, **more) as response:
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or location is None:
                    yield response
                    return
                url = url.join(URL(location))
        raise Refusal(422, "cannot be fetched: too many redirects")

    def _check(self, url: URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise Refusal(422, "cannot be fetched: the URL, or a redirect, is not http(s)")
        # The resolver never gets literal addresses.
        if _is_literal(url.host) and not self._reach.has(url.host):
            raise Refusal(422, f"cannot be fetched: {PRIVATE}")


def _is_literal(host: str) -> bool:
    """Return whether `host` is used as an address. Also true for `2130706433`, which is_public cannot parse."""
    return ":" in host or host.replace(".", "").isdigit()


def _reason(error: Exception) -> str:
    if isinstance(error, ProxyFault):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or error.os_error})"
    return type(error).__name__
