"""Time stamps (RFC 3161) through a relay on the loopback interface, with limits and retries that c2pa does not have.

A server that does not answer must neither hold up a night nor cost a result: the file is then signed without a stamp.
"""

import secrets
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from batchswap.errors import UsageError
from batchswap.tasks import public

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
LIMIT = 15.0
"""Seconds for each answer."""
WAITS = (1.0, 4.0)
"""Seconds before the second and the third try."""
PAUSE = 300.0
"""Seconds without a query after a failure in spite of all retries."""
_LONGEST = 100_000
"""Bytes of a query or an answer."""


def check_url(url: str) -> None:
    """Raise UsageError if this is no address of a time-stamp server."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_good = False
    if not is_good:
        raise UsageError(f"--timestamp-url: {public(url)} is not an http or https URL")


class StampFailed(Exception):
    """The time-stamp server did not give a stamp. The text has the reason."""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect: a POST would become a GET."""


class StampRelay:
    """Passes time-stamp queries on to `url`. `problem` is the reason for the last failure, "" after a success.

    After a failure in spite of all retries it `is_down` for PAUSE: a server that hangs must not slow down every file.
    """

    def __init__(
        self,
        url: str,
        *,
        limit: float = LIMIT,
        waits: tuple[float, ...] = WAITS,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""
        self._now, self._up_at = now, -inf
        self._url, self._limit, self._waits, self._sleep = url, limit, waits, sleep
        self._opener = build_opener(ProxyHandler({}), _NoRedirect)
        self._secret = secrets.token_hex(16)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="stamps", daemon=True).start()

    @property
    def address(self) -> str:
        """Return the address for c2pa. Other users of this machine cannot guess it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{self._secret}"

    @property
    def is_down(self) -> bool:
        """Return whether the server has just failed, and is not asked."""
        return self._now() < self._up_at

    def ask(self, query: bytes) -> bytes:
        """Return the server's answer to a query. Raise StampFailed after all retries."""
        for wait in (0.0, *self._waits):
            if wait:
                self._sleep(wait)
            try:
                found = self._ask_once(query)
            except HTTPError as error:
                self.problem = f"it answered HTTP {error.code}"
                error.close()
            except (OSError, HTTPException, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                self.problem = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            except StampFailed as error:
                self.problem = str(error)
            else:
                self.problem = ""
                return found
        self._up_at = self._now() + PAUSE
        raise StampFailed(self.problem)

    def _ask_once(self, query: bytes) -> bytes:
        request = Request(self._url, query, {"Content-Type": _QUERY}, method="POST")  # noqa: S310 - checked by check_url
        with self._opener.open(request, timeout=self._limit) as answer:
            if answer.headers.get_content_type() != _REPLY:
                raise StampFailed("its answer is no time stamp")
            found: bytes = answer.read(_LONGEST)
            return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class QueryHandler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                relay.answer(self)

            def log_message(self, *_: Any) -> None:
                """Write nothing to stderr."""

        return QueryHandler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a query of c2pa. Any other request gets 404."""
        if request.path != f"/{self._secret}":
            request.send_error(404)
            return
        query = request.rfile.read(min(int(request.headers.get("Content-Length") or 0), _LONGEST))
        try:
            found = self.ask(query)
        except StampFailed:
            request.send_error(502)
            return
        request.send_response(200)
        request.send_header("Content-Type", _REPLY)
        request.send_header("Content-Length", str(len(found)))
        request.end_headers()
        request.wfile.write(found)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
