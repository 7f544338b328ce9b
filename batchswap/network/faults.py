"""Faults of a proxy before it has made a connection, in words. Nothing has reached the host then."""

import os
import ssl

import aiohttp

from batchswap.network.certificates import certificate_words
from batchswap.network.proxy_address import ProxyAddress

CREDENTIALS = 407
"""The status with which a proxy asks for other credentials (RFC 9110, 15.5.8)."""
_UNREACHABLE = (500, 502, 503, 504)


class ProxyFault(aiohttp.ClientConnectionError):
    """There is no connection to the host because of the proxy. The text names the proxy, without credentials."""


def fault_words(error: BaseException, proxy: ProxyAddress, host: str) -> str:
    """Return what the proxy did instead of a connection to `host`; "" if the host itself is to blame."""
    is_at_proxy = getattr(error, "host", proxy.host) == proxy.host
    match error:
        case aiohttp.ClientHttpProxyError():
            return refusal_words(error.status, proxy, host, _challenge(error))
        case aiohttp.ClientSSLError() | ssl.SSLCertVerificationError() if not is_at_proxy or proxy.is_socks:
            return ""
        case aiohttp.ClientConnectorCertificateError():
            return certificate_words(error.certificate_error, f"the proxy {proxy.host}")
        case aiohttp.ClientSSLError():
            return f"TLS to the proxy {proxy.shown} failed: is it an http:// proxy?"
        case aiohttp.ClientConnectorDNSError():
            return f"the host name of the proxy {proxy.shown} cannot be resolved"
        case aiohttp.ClientConnectorError() if is_at_proxy:
            return f"the proxy {proxy.shown} cannot be reached{reason_of(error.os_error)}"
        case TimeoutError():
            return f"there was no connection to {host} through the proxy {proxy.shown} in time"
        case aiohttp.ClientResponseError():
            return f"{proxy.shown} does not answer as a proxy does"
        case _:
            return f"the proxy {proxy.shown} closed the connection before it was one to {host}"


def _challenge(error: aiohttp.ClientHttpProxyError) -> str:
    return str(error.headers.get("Proxy-Authenticate", "")) if error.headers else ""


def refusal_words(status: int, proxy: ProxyAddress, host: str, challenge: str = "") -> str:
    """Return the meaning of a proxy's answer that is not a connection. `challenge`: its Proxy-Authenticate."""
    if status == CREDENTIALS:
        kinds = challenge.split()[:1]
        if kinds and "basic" not in challenge.lower():
            return f"the proxy {proxy.shown} wants a login of the kind {kinds[0][:20]}, and only Basic is known (407)"
        wish = "wants a user and a password" if proxy.user is None else "refuses the user and password"
        return f"the proxy {proxy.shown} {wish} (407)"
    if status == 403:
        return f"the proxy {proxy.shown} does not allow connections to {host} (403)"
    if status in _UNREACHABLE:
        return f"the proxy {proxy.shown} cannot connect to {host} ({status})"
    return f"the proxy {proxy.shown} does not connect to {host}: it answers {status}"


def reason_of(error: BaseException | None) -> str:
    """Return the system's message, after a colon; "" if there is none."""
    number = getattr(error, "errno", None)
    return f": {os.strerror(number)}" if isinstance(number, int) and number > 0 else ""
