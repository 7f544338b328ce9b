"""Connectors that reach hosts through a proxy, and tell its faults from those of the hosts."""

from typing import TYPE_CHECKING, Any

import aiohttp

from batchswap.network.faults import ProxyFault, fault_words
from batchswap.network.proxy_address import ProxyAddress

if TYPE_CHECKING:
    from aiohttp.client import ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Tunnels(aiohttp.TCPConnector):
    """Makes connections through an http:// or https:// proxy, which each request names.

    Whatever fails in `connect` fails before the request is sent: a proxy that closes the connection or answers
    garbage has passed nothing on. aiohttp has the same exceptions for that as for a host that got the request.
    """

    errors: tuple[type[Exception], ...] = (aiohttp.ClientError, OSError)
    """The exceptions of `connect`."""

    def __init__(self, proxy: ProxyAddress, **options: Any) -> None:
        super().__init__(**options)
        self.proxy = proxy

    def words(self, error: Exception, host: str) -> str:
        """Return what the proxy did; "" if the host is to blame."""
        return fault_words(error, self.proxy, host)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: "ClientTimeout",  # noqa: ASYNC109 - aiohttp's parameter
    ) -> "Connection":
        try:
            return await super().connect(req, traces, timeout)
        except self.errors as error:
            if words := self.words(error, req.url.raw_host or ""):
                raise ProxyFault(words) from None
            raise
