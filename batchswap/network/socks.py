"""Connections through a SOCKS proxy. Importing this needs the extra `socks`."""

import ssl
from typing import Any

import aiohttp_socks
import python_socks

from batchswap.network.faults import reason_of
from batchswap.network.proxy_address import ProxyAddress
from batchswap.network.tunnels import Tunnels

_KINDS = {
    "socks4": aiohttp_socks.ProxyType.SOCKS4,
    "socks5": aiohttp_socks.ProxyType.SOCKS5,
    "socks5h": aiohttp_socks.ProxyType.SOCKS5,
}


class SocksTunnels(Tunnels, aiohttp_socks.ProxyConnector):
    """Makes connections through a SOCKS proxy. With socks5h:// the proxy resolves the names of hosts."""

    errors = (
        *Tunnels.errors,
        aiohttp_socks.ProxyError,
        aiohttp_socks.ProxyConnectionError,
        aiohttp_socks.ProxyTimeoutError,
        python_socks.ProxyError,
        EOFError,
    )

    def __init__(self, proxy: ProxyAddress, **options: Any) -> None:
        super().__init__(
            proxy,
            host=proxy.host,
            port=proxy.port,
            proxy_type=_KINDS[proxy.scheme],
            username=proxy.user,
            password=proxy.password,
            rdns=proxy.scheme == "socks5h",
            **options,
        )

    def words(self, error: Exception, host: str) -> str:
        match error:
            case aiohttp_socks.ProxyConnectionError():
                return f"the proxy {self.proxy.shown} cannot be reached{reason_of(error.__cause__)}"
            case aiohttp_socks.ProxyTimeoutError():
                return super().words(TimeoutError(), host)
            case aiohttp_socks.ProxyError() if "auth" in str(error).lower():
                wish = "wants a user and a password" if self.proxy.user is None else "refuses the user and password"
                return f"the proxy {self.proxy.shown} {wish}"
            case aiohttp_socks.ProxyError() if error.error_code:
                return f"the proxy {self.proxy.shown} does not connect to {host}: {str(error).lower()}"
            case aiohttp_socks.ProxyError():
                return f"{self.proxy.shown} does not answer as a proxy does"
            case ssl.SSLError():
                return ""  # of the host, because TLS begins after the connection through the proxy
            case _:
                return super().words(error, host)
