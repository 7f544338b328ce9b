"""The choice of a proxy for each URL. On request only: without --proxy, every connection is direct."""

import importlib.util
import ipaddress
import os
import re
import socket
from contextlib import suppress
from urllib.request import (  # type: ignore[attr-defined]  # the second one is missing in typeshed
    getproxies_environment,
    proxy_bypass_environment,
)

import msgspec
from yarl import URL

from batchswap.errors import MissingExtra
from batchswap.network.proxy_address import ProxyAddress, parse_proxy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ENVIRONMENT = "env"
"""The value of --proxy that uses the variables."""
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
"""The variables that name proxies. In lower case they have precedence, as in curl and requests."""


class Routes(msgspec.Struct, frozen=True):
    """The proxies: `http` and `https` are for URLs of that scheme. `bypass` lists hosts without one, as NO_PROXY does.

    This machine is always reached directly: a proxy would be another machine, or would see the key of a local API.
    """

    http: ProxyAddress | None = None
    https: ProxyAddress | None = None
    bypass: str = ""

    def proxy_for(self, url: URL) -> ProxyAddress | None:
        """Return the proxy for a URL; None for a direct connection."""
        found = self.https if url.scheme == "https" else self.http
        host = (url.raw_host or "").rstrip(".")
        if found is None or is_here(host) or is_bypassed(host, url.port, self.bypass):
            return None
        return found

    @property
    def proxies(self) -> tuple[ProxyAddress, ...]:
        """Return each proxy once."""
        return tuple(dict.fromkeys(each for each in (self.https, self.http) if each is not None))


DIRECT = Routes()


def routes_of(setting: str) -> Routes:
    """Return the routes of `Settings.proxy`: "", "env", or the URL of a proxy for all hosts.

    Raise UsageError for an unusable proxy, MissingExtra for a SOCKS proxy without aiohttp-socks.
    """
    if not setting:
        return DIRECT
    if setting == ENVIRONMENT:
        found = _routes_of_environment()
    else:
        proxy = parse_proxy(setting, "--proxy")
        found = Routes(proxy, proxy)
    if any(each.is_socks for each in found.proxies) and importlib.util.find_spec("aiohttp_socks") is None:
        raise MissingExtra("socks", "aiohttp_socks")
    return found


def _routes_of_environment() -> Routes:
    given = getproxies_environment()

    def proxy_of(scheme: str) -> ProxyAddress | None:
        name = next((name for name in (scheme, "all") if given.get(name)), None)
        if name is None:
            return None
        return parse_proxy(given[name], f"{name.upper()}_PROXY", is_bare_allowed=True)

    return Routes(proxy_of("http"), proxy_of("https"), given.get("no", ""))


def variables_set() -> list[str]:
    """Return the names of the proxy variables that are set, as they are spelled."""
    return [name for each in VARIABLES for name in (each, each.lower()) if os.environ.get(name)]


def is_here(host: str) -> bool:
    """Return whether a host is this machine by its name or address."""
    found = literal(host)
    if found is None:
        return host == "localhost" or host.endswith(".localhost")
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_unspecified


def literal(host: str) -> Address | None:
    """Return the address that a host is, also in old notations such as 127.1 or 0x7f000001; None for a name."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0])
    if re.fullmatch(r"(0x)?[0-9a-f]+", host.rpartition(".")[2], re.IGNORECASE):
        with suppress(OSError):
            return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


def is_bypassed(host: str, port: int | None, bypass: str) -> bool:
    """Return whether a list like NO_PROXY names a host: itself, a domain above it, or a network (10.0.0.0/8)."""
    names = [name.removeprefix("*") if len(name) > 1 else name for name in re.split(r"[\s,]+", bypass) if name]
    if "*" in names:
        return True
    address = literal(host)
    if address is not None and any(address in network for network in map(_network, names) if network):
        return True
    return bool(proxy_bypass_environment(f"{host}:{port}", {"no": ",".join(names)}))


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    with suppress(ValueError):
        return ipaddress.ip_network(name, strict=False)
    return None
