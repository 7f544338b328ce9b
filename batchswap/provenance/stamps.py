"""Time stamps (RFC 3161) through a relay on the loopback interface, with limits and retries that c2pa does not have.

A server that does not answer must neither hold up a night nor cost a result: the file is then signed without a stamp.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any
from urllib.parse import urlsplit

from batchswap.errors import UsageError
from batchswap.network import DIRECT, Routes
from batchswap.network.post import NoReply, post
from batchswap.tasks import public

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
LIMIT = 15.0
"""Seconds for each answer."""
WAITS = (1.0, 4.0)
"""Seconds before the second and the third try."""
PAUSE = 300.0
"""Seconds without a query after a failure in spite of all retries."""
_HERE = "127.0.0.1"
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


def _reach_directly() -> None:
    """Keep c2pa from asking for the relay at a proxy: it uses the proxy variables, even for this machine."""
    names = ("NO_PROXY", "no_proxy")
    given = {name: os.environ[name] for name in names if os.environ.get(name)}
    for name in names:
        known = given.get(name) or next(iter(given.values()), "")
        if known != "*" and _HERE not in known.split(","):
            os.environ[name] = f"{known},{_HERE}".lstrip(",")


class StampFailed(Exception):
    """The time-stamp server did not give a stamp. The text has the reason."""


class StampRelay:
    """Passes time-stamp queries on to `url`. `problem` is the reason for the last failure, "" after a success.

    After a failure in spite of all retries it `is_down` for PAUSE: a server that hangs must not slow down every file.
    """

    def __init__(
        self,
        url: str,
        routes: Routes = DIRECT,
        *,
        limit: float = LIMIT,
        waits: tuple[float, ...] = WAITS,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""
        self._now, self._up_at = now, -inf
        self._url, self._routes, self._limit, self._waits, self._sleep = url, routes, limit, waits, sleep
        _reach_directly()
        self._secret = secrets.token_hex(16)
        self._server = ThreadingHTTPServer((_HERE, 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="stamps", daemon=True).start()

    @property
    def address(self) -> str:
        """Return the address for c2pa. Other users of this machine cannot guess it."""
        return f"http://{_HERE}:{self._server.server_address[1]}/{self._secret}"

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
            except (NoReply, StampFailed) as error:
                self.problem = str(error)
            else:
                self.problem = ""
                return found
        self._up_at = self._now() + PAUSE
        raise StampFailed(self.problem)

    def _ask_once(self, query: bytes) -> bytes:
        reply = post(self._routes, self._url, query, content_type=_QUERY, seconds=self._limit, longest=_LONGEST)
        if reply.status != 200:
            raise StampFailed(f"it answered HTTP {reply.status}")
        if reply.content_type != _REPLY:
            raise StampFailed("its answer is no time stamp")
        return reply.body

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
