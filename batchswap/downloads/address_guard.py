"""Refuse media URLs that lead to private addresses.

The check is made when a socket is created, for the address that is connected to, after DNS and for every redirect. A
check of the host name could get another DNS answer than the connection.

A proxy looks up the address itself. Behind one, the check is weaker: it refuses literal addresses that are not public,
and names that are only used in private networks.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from yarl import URL

from batchswap.errors import PrivateAddress
from batchswap.network import DIRECT, Routes
from batchswap.network.routes import literal

AddressInfo = tuple[Any, Any, Any, Any, Any]
"""One result of getaddrinfo: family, type, protocol, canonical name, socket address."""

SocketFactory = Callable[[AddressInfo], socket.socket]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: how a network without IPv4 reaches public IPv4 hosts
_UNICAST = ipaddress.IPv6Network("2000::/3")  # the range for hosts (RFC 4291, 2.4)

# From IANA's registries of special-purpose addresses (RFC 6890): no media host has one of these, but some versions of
# Python's ipaddress consider them global.
_SPECIAL = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments, among them DS-Lite and NAT64 discovery
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays (RFC 7526)
    ipaddress.IPv6Network("2001::/23"),  # protocol assignments: Teredo, benchmarking, ORCHID
    ipaddress.IPv6Network("2001:db8::/32"),  # documentation
    ipaddress.IPv6Network("2002::/16"),  # 6to4 carries IPv4 inside
    ipaddress.IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1: precedes an IPv4 address in the last 32 bits


_PRIVATE_ENDINGS = frozenset(
    ("localhost", "local", "internal", "home.arpa", "intranet", "private", "corp", "home", "lan", "localdomain")
)
"""Domains of private networks: RFC 6761, 6762 (with its appendix G) and 8375, and ICANN's .internal."""


def is_public(text: str) -> bool:
    """Return whether this literal IP address is on the public internet: global unicast, or a mapped IPv4 address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        number = int(address)
        inside = ipaddress.IPv4Address(number & 0xFFFF_FFFF)
        if address.ipv4_mapped is not None or address in _NAT64:
            return is_public(str(inside))
        if number >> 32 & 0xFFFF_FFFF in _ISATAP and not is_public(str(inside)):
            return False
        if address not in _UNICAST:
            return False
    if any(address.version == network.version and address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def public_socket(info: AddressInfo) -> socket.socket:
    """Create a socket for this address. Raise PrivateAddress."""
    family, kind, protocol, _, address = info
    try:
        allowed = is_public(address[0])
    except ValueError:  # an old notation that the system would accept
        allowed = False
    if not allowed:
        raise PrivateAddress("the address is not public")
    return socket.socket(family, kind, protocol)


def is_public_name(host: str) -> bool:
    """Return whether a host may be public by its name: a public literal address, or a name in a public domain."""
    host = host.rstrip(".").lower()
    if (address := literal(host)) is not None:
        return is_public(str(address))
    labels = host.split(".")
    return len(labels) > 1 and not {labels[-1], ".".join(labels[-2:])} & _PRIVATE_ENDINGS


def check_name(host: str) -> None:
    """Raise PrivateAddress for a host that cannot be public. Another host may still have a private address."""
    if not is_public_name(host):
        raise PrivateAddress(f"{host} is not a public address or name")


async def is_on_private_address(url: str, routes: Routes = DIRECT) -> bool:
    """Return whether the API itself has an address that is not public. Then its media may have one too."""
    if routes.proxy_for(URL(url)) is not None:
        return not is_public_name(URL(url).raw_host or "")
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not is_public(str(info[4][0])) for info in found)
