"""Sessions of aiohttp, one for direct requests and one for each proxy."""

import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import aiohttp
from yarl import URL

from batchswap.network.faults import CREDENTIALS, ProxyFault, refusal_words
from batchswap.network.proxy_address import ProxyAddress
from batchswap.network.routes import Routes
from batchswap.network.tunnels import Tunnels


class Connections:
    """A context manager. Each request goes directly, or through the proxy of its URL; none follows redirects.

    The variables of other programs and ~/.netrc count for nothing but `routes`.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        connector: dict[str, Any] | None = None,
        direct: dict[str, Any] | None = None,
        session: dict[str, Any],
    ) -> None:
        """`connector` and `session` are options of aiohttp's classes, `direct` those of the direct connector alone."""
        self.routes = routes
        self._connector, self._direct, self._options = connector or {}, direct or {}, session
        self._sessions: dict[ProxyAddress | None, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._stack.aclose()

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, *, headers: dict[str, str] | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request. Raise ProxyFault if the proxy makes no connection, else the exceptions of aiohttp."""
        proxy = self.routes.proxy_for(url)
        session = self._sessions.get(proxy) or self._open(proxy)
        headers = headers or {}
        is_forwarded = False
        if proxy is not None and not proxy.is_socks:
            is_forwarded = url.scheme == "http"
            options["proxy"] = proxy.shown
            if is_forwarded:
                headers = {**headers, **proxy.headers}
            else:
                options["proxy_headers"] = {"User-Agent": "batchswap", **proxy.headers}
        async with session.request(method, url, allow_redirects=False, headers=headers, **options) as response:
            if proxy is not None and is_forwarded and response.status == CREDENTIALS:
                challenge = response.headers.get("Proxy-Authenticate", "")
                raise ProxyFault(refusal_words(CREDENTIALS, proxy, url.raw_host or "", challenge))
            yield response

    def _open(self, proxy: ProxyAddress | None) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if proxy is None:
            connector = aiohttp.TCPConnector(**self._connector, **self._direct)
        elif proxy.is_socks:
            connector = importlib.import_module("batchswap.network.socks").SocksTunnels(proxy, **self._connector)
        else:
            connector = Tunnels(proxy, **self._connector)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, **self._options
        )
        self._stack.push_async_callback(session.close)
        self._sessions[proxy] = session
        return session
