"""The address of a proxy. Its user and password are used and never shown. Pure."""

import re
from base64 import b64encode
from urllib.parse import unquote, urlsplit

import msgspec

from batchswap.errors import UsageError
from batchswap.tasks import is_nameable

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}
"""The schemes of proxies, and the port of each if the URL has none."""
_FORM = "write http://HOST:PORT, with USER:PASSWORD@ in front of HOST if the proxy needs a login"
"""How to write the URL. The example has no user and password, because the console would remove them."""
_HOST = re.compile(r"[^\s/?#@%\[\]<>^`{|}\\:]+|[0-9a-f:.]*:[0-9a-f:.]*", re.IGNORECASE)


class ProxyAddress(msgspec.Struct, frozen=True):
    """One proxy. `repr` shows neither the user nor the password, which are decoded here."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str = ""

    def __repr__(self) -> str:
        return f"ProxyAddress({self.shown!r})"

    @property
    def shown(self) -> str:
        """Return the URL without user and password."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def headers(self) -> dict[str, str]:
        """Return the header with the credentials, which only the proxy may get; {} without credentials."""
        if self.user is None:
            return {}
        pair = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {pair}"}


def parse_proxy(text: str, place: str, *, is_bare_allowed: bool = False) -> ProxyAddress:
    """Return the proxy of a URL. `place`: the option or variable that has it, for errors.

    `is_bare_allowed`: HOST:PORT without a scheme means http, as in the variables of other programs. Raise UsageError,
    whose message repeats nothing of the URL but its scheme, because any part may be a piece of the password.
    """
    scheme, mark, _ = text.partition("://")
    if not mark:
        if not is_bare_allowed:
            raise UsageError(f"{place}: this is not the URL of a proxy: {_FORM}, or env for the proxy variables")
        scheme, text = "http", f"http://{text}"
    if scheme.lower() not in PORTS:
        named = f" {scheme}://" if re.fullmatch("[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme) else ""
        raise UsageError(f"{place}: the scheme{named} is not that of a proxy: use {', '.join(PORTS)}")
    malformed = f"{place}: the URL of the proxy is malformed: {_FORM}, and special characters as %XX"
    try:
        parts = urlsplit(text)
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        raise UsageError(malformed) from None
    host = parts.hostname or ""
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(
            f"{place}: the URL of a proxy has nothing after the port: {_FORM}, and special characters as %XX"
        )
    if not text.isprintable() or not _HOST.fullmatch(host) or not is_nameable(host) or not port:
        raise UsageError(malformed)
    user = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    if wrong := _wrong_login(parts.scheme, user, password):
        raise UsageError(f"{place}: {wrong}")
    return ProxyAddress(parts.scheme, host, port, user, password)


def _wrong_login(scheme: str, user: str | None, password: str) -> str:
    """Return why a SOCKS proxy cannot get this login (RFC 1929), which it would otherwise get in part."""
    if user is None or not scheme.startswith("socks"):
        return ""
    if not (user + password).isascii() or max(len(user), len(password)) > 255:
        return "the user and password of a SOCKS proxy have up to 255 characters of ASCII"
    if scheme == "socks4":
        return "a socks4:// proxy takes a user without a password" if password else ""
    return "" if user and password else "a socks5:// proxy takes a user with a password, or neither"


def masked(text: str) -> str:
    """Return an option's value as it may be printed: a URL without its user and password."""
    head, _, place = text.rpartition("@")
    scheme, mark, _ = head.partition("://")
    return f"{scheme}{mark}{place}" if mark else place
