"""Map exceptions of aiohttp and the system to NeverSent or MaybeSent: whether the request may have arrived.

NeverSent is only for errors before there is a connection. A server that closes a kept connection gives MaybeSent,
because it may have received the request before.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp

from batchswap.errors import MaybeSent, NeverSent, ProxyFailed
from batchswap.network import ProxyFault
from batchswap.network.certificates import certificate_words, refused_certificate
from batchswap.tasks import public

ErrorClass = type[NeverSent] | type[MaybeSent]

FAULTS: dict[type[BaseException], tuple[ErrorClass, str]] = {
    # Before there is a connection.
    aiohttp.ClientConnectorDNSError: (NeverSent, "the host name cannot be resolved"),
    aiohttp.ClientConnectorCertificateError: (NeverSent, "the server's certificate is not trusted"),
    aiohttp.ClientConnectorSSLError: (NeverSent, "TLS failed"),
    aiohttp.ClientSSLError: (NeverSent, "TLS failed"),
    aiohttp.ServerFingerprintMismatch: (NeverSent, "the server's certificate is not the expected one"),
    aiohttp.ClientProxyConnectionError: (NeverSent, "the proxy cannot be reached"),
    aiohttp.ClientHttpProxyError: (NeverSent, "the proxy refused"),
    ProxyFault: (NeverSent, "the proxy made no connection"),
    aiohttp.ClientConnectorError: (NeverSent, "cannot connect"),
    aiohttp.ConnectionTimeoutError: (NeverSent, "no connection in time"),
    socket.gaierror: (NeverSent, "the host name cannot be resolved"),
    ConnectionRefusedError: (NeverSent, "the connection was refused"),
    ssl.SSLCertVerificationError: (NeverSent, "the server's certificate is not trusted"),
    # aiohttp refuses the URL before it connects.
    aiohttp.InvalidURL: (NeverSent, "the URL cannot be used"),
    aiohttp.InvalidUrlClientError: (NeverSent, "the URL cannot be used"),
    aiohttp.NonHttpUrlClientError: (NeverSent, "the URL is not http(s)"),
    # A redirect comes with an answer, so something was sent.
    aiohttp.RedirectClientError: (MaybeSent, "the answer is a redirect"),
    aiohttp.InvalidUrlRedirectClientError: (MaybeSent, "the answer is a redirect"),
    aiohttp.NonHttpUrlRedirectClientError: (MaybeSent, "the answer is a redirect"),
    aiohttp.TooManyRedirects: (MaybeSent, "the answer is a redirect"),
    # After the connection was made.
    aiohttp.ServerDisconnectedError: (MaybeSent, "the server closed the connection without an answer"),
    aiohttp.ServerConnectionError: (MaybeSent, "the connection was lost"),
    aiohttp.ServerTimeoutError: (MaybeSent, "no answer in time"),
    aiohttp.SocketTimeoutError: (MaybeSent, "no answer in time"),
    aiohttp.ClientConnectionResetError: (MaybeSent, "the connection was reset"),
    aiohttp.ClientOSError: (MaybeSent, "the connection was lost"),
    aiohttp.ClientConnectionError: (MaybeSent, "the connection was lost"),
    aiohttp.ClientPayloadError: (MaybeSent, "the answer is incomplete"),
    aiohttp.ClientResponseError: (MaybeSent, "the answer is not HTTP"),
    aiohttp.ContentTypeError: (MaybeSent, "the answer is of another type"),
    aiohttp.WSServerHandshakeError: (MaybeSent, "the answer is not HTTP"),
    aiohttp.ClientError: (MaybeSent, "the request failed"),
    TimeoutError: (MaybeSent, "no answer in time"),
    ssl.SSLError: (MaybeSent, "TLS broke"),
    ConnectionError: (MaybeSent, "the connection was lost"),
    OSError: (MaybeSent, "the connection was lost"),
}
"""The entry of the nearest base class is used, so that new classes of a later aiohttp are mapped too."""

if hasattr(aiohttp, "UploadAbortedError"):  # only newer versions of aiohttp have it
    FAULTS[aiohttp.UploadAbortedError] = (MaybeSent, "the upload was cut short")


def translate(error: aiohttp.ClientError | OSError, url: str) -> NeverSent | MaybeSent:
    """Return the package's own error, with a message that contains no key and no query."""
    fault, words = next(FAULTS[base] for base in type(error).__mro__ if base in FAULTS)
    if isinstance(error, ProxyFault):
        return ProxyFailed(f"{error} ({public(url)})")
    if (found := refused_certificate(error)) is not None:
        return fault(f"{certificate_words(found, urlsplit(url).hostname or '')} ({public(url)})")
    return fault(f"{words}{_reason(error)} ({public(url)})")


def _reason(error: BaseException) -> str:
    """Return the system's message. The exception's text is not used: aiohttp puts whole URLs and headers into it."""
    source = getattr(error, "os_error", error)
    if not isinstance(source, OSError) or not source.errno or not isinstance(source.strerror, str):
        return ""
    text = source.strerror
    if text.startswith("Connect call failed"):
        text = os.strerror(source.errno)  # asyncio replaces it by the address, which the message has already
    return "" if "://" in text else f": {text}"


@contextmanager
def mapped(url: str) -> Iterator[None]:
    """Raise NeverSent or MaybeSent in place of the original exception, which may contain the key."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise translate(error, url) from None
