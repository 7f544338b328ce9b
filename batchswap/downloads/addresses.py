"""Which addresses a media URL may lead to, asked of the address that is really connected to.

A check of the name, or of what DNS said a moment ago, can be answered differently the next time. So the question stands
where the socket is made, after DNS and for every redirect.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from batchswap.errors import PrivateAddress

Found = tuple[Any, Any, Any, Any, Any]
"""One result of getaddrinfo: family, type, protocol, canonical name, socket address."""

Guard = Callable[[Found], socket.socket]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: how a network without IPv4 reaches public IPv4 hosts
_TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))  # 6to4 and Teredo carry IPv4 inside


def is_public(text: str) -> bool:
    """Whether this literal IP address is somewhere on the internet: global unicast, also through its mapped IPv4."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)))
        if address.is_site_local or any(address in tunnel for tunnel in _TUNNELS):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def public_socket(info: Found) -> socket.socket:
    """A socket for this address. Raises PrivateAddress."""
    family, kind, protocol, _, address = info
    try:
        allowed = is_public(address[0])
    except ValueError:  # an old way to write an address, which the system would understand
        allowed = False
    if not allowed:
        raise PrivateAddress("the address is not public")
    return socket.socket(family, kind, protocol)


async def is_on_private_address(url: str) -> bool:
    """Whether the API itself is reached at an address that is not public: then its media may be too."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not is_public(str(info[4][0])) for info in found)
