"""Decide which requests are answered: those of the user's own browser, on the page that this server made.

A web site that the user visits can make the browser send requests to this machine, also under a name of its own
(DNS rebinding). So the names in Host and Origin are compared with those of this server, and an order needs a token that
only the page knows. Beyond this machine, every request needs a cookie, which the printed address sets. A program that
only reads the metrics sends the printed token instead.
"""

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

COOKIE = "batchswap-watch"
TOKEN = "token"  # noqa: S105 - the name of the parameter
PAGE_TOKEN = "X-Batchswap-Page"  # noqa: S105 - the name of the header
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::\d{1,5})?")
_FETCHES = ("same-origin", "none")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
CLOSED = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The Content-Security-Policy of everything but the page."""


@dataclass(frozen=True)
class Guard:
    """The names and secrets of a server: the hosts that it answers to, and any IP address if it listens on all."""

    names: frozenset[str]
    has_any_address: bool = False
    needs_token: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def objection(self, method: str, headers: Mapping[str, str]) -> str:
        """Return why a request is refused, whoever sends it; "" if it is not."""
        host = headers.get("Host", "")
        if not self._is_own(host):
            return "this server does not have the name in the address: use the address that `batchswap watch` printed"
        origin = headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return "requests of other pages are refused"
        fetch = headers.get("Sec-Fetch-Site", "none")
        is_opened = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
        if fetch not in _FETCHES and not (is_opened and method == "GET"):
            return "requests of other pages are refused"
        if method not in ("GET", "HEAD") and (origin is None or not self._is_page(headers.get(PAGE_TOKEN, ""))):
            return "only the page itself can change anything: load it again"
        return ""

    def _is_own(self, host: str) -> bool:
        # Any port is fine, because a tunnel (ssh -L) may have another one. The name is what a foreign site cannot have.
        found = _HOST.fullmatch(host)
        name = found[1].lower() if found else ""
        return name in self.names or (self.has_any_address and _is_address(name.strip("[]")))

    def _is_page(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.page_token.encode())

    def is_known(self, cookie: str) -> bool:
        """Return whether the browser has the cookie, if it needs one."""
        return not self.needs_token or hmac.compare_digest(cookie.encode(errors="replace"), self.cookie.encode())

    def is_bearer(self, authorization: str) -> bool:
        """Return whether the header of a program, which keeps no cookies, has the token."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def guard_of(host: str) -> Guard:
    """Return the guard of a server that listens on this address."""
    address = host.strip("[]").lower()
    here = frozenset({"127.0.0.1", "localhost", "[::1]", _bracketed(address)})
    if is_loopback(address):
        return Guard(here)
    if address in ("0.0.0.0", "::"):  # noqa: S104 - compared only
        names = here | {socket.gethostname().lower(), socket.getfqdn().lower()}
        return Guard(names, has_any_address=True, needs_token=True)
    return Guard(frozenset({_bracketed(address)}), needs_token=True)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
