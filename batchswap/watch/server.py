"""Serve the live page to browsers: the page, its changes, the files that it shows, and the orders that it sends."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from batchswap.errors import BatchswapError, LedgerBusy, LedgerError, MissingExtra, UsageError
from batchswap.metrics.exposition import scrape
from batchswap.report.formatting import safe
from batchswap.watch import media_files, orders
from batchswap.watch.feed import Feed, message, parse_mark
from batchswap.watch.guard import CLOSED, COOKIE, HEADERS, TOKEN, Guard, guard_of
from batchswap.watch.live_pages import LivePages

METRICS = "/metrics"
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]
LARGEST_ORDER = 256 * 1024
"""Bytes of the body of an order."""
RECEIVE = 30.0
"""Seconds in which an order must arrive."""
_ENTERED = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>batchswap</title><meta http-equiv="refresh" content="0;url=/"></head>
<body><p><a href="/">Go on to the page</a></p></body></html>
"""
"""The answer to the printed address. A redirect would not send the new cookie if a link led here."""
_TROUBLE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>batchswap</title><meta http-equiv="refresh" content="2"></head>
<body><main><h1>The ledger cannot be shown</h1><p>{}</p></main></body></html>
"""
_BUG = "internal error: the terminal of `batchswap watch` shows it"
_MISSING_COOKIE = "open the address that `batchswap watch` printed, with its token"

log = logging.getLogger(__name__)


def _shorten(record: logging.LogRecord) -> bool:
    """Log malformed HTTP as one line, without a traceback."""
    if record.exc_info and isinstance(record.exc_info[1], BadHttpMessage | web.RequestPayloadError):
        record.exc_info = None
    return True


http_log = logging.getLogger(f"{__name__}.http")
http_log.addFilter(_shorten)


class WatchServer:
    """Answers requests about one ledger. `out` is the folder of results that no run has recorded."""

    def __init__(self, ledger: Path, out: Path, guard: Guard) -> None:
        self._ledger, self._out, self._guard = ledger, out, guard
        self.pages = LivePages(ledger, out)
        self.feed = Feed(self.pages)
        self._order = asyncio.Lock()

    def application(self) -> web.Application:
        """Return the application. Every answer has passed the guard, refusals included."""

        @web.middleware
        async def admit(request: web.Request, handler: Respond) -> web.StreamResponse:
            return await self._admit(request, handler)

        app = web.Application(client_max_size=LARGEST_ORDER, middlewares=[admit])
        app.router.add_get("/", self._page)
        app.router.add_get(METRICS, self._metrics)
        app.router.add_get("/events", self._events, allow_head=False)
        app.router.add_get(r"/data/{number:\d{1,9}}-{first:\d{1,18}}.js", self._piece)
        app.router.add_get(r"/result/{task:\d{1,18}}", self._result)
        app.router.add_get(r"/original/{task:\d{1,18}}", self._original)
        app.router.add_get("/pictures/{name:.+}", self._picture)
        app.router.add_post("/order", self._take_order)
        app.on_response_prepare.append(self._protect)
        return app

    async def _protect(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers["Server"] = "batchswap"
        response.headers.setdefault("Content-Security-Policy", CLOSED)

    async def _admit(self, request: web.Request, handler: Respond) -> web.StreamResponse:
        """Refuse foreign requests, and turn errors into sentences."""
        if words := self._guard.objection(request.method, request.headers):
            return _refuse(403, words)
        if request.path == "/" and self._guard.needs_token and self._guard.is_token(request.query.get(TOKEN, "")):
            return self._enter()
        is_scraper = request.path == METRICS and self._guard.is_bearer(request.headers.get("Authorization", ""))
        if not is_scraper and not self._guard.is_known(request.cookies.get(COOKIE, "")):
            return _refuse(403, _MISSING_COOKIE)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refuse(error.status, error.reason)
        except LedgerBusy as error:
            return _refuse(409, str(error))
        except BatchswapError as error:
            is_wrong = isinstance(error, UsageError) and not isinstance(error, LedgerError)
            return _refuse(422 if is_wrong else 503, str(error))
        except (ConnectionError, web.RequestPayloadError):
            raise
        except Exception:  # the last resort: a bug
            log.exception("%s %s failed", request.method, request.path)
            return _refuse(500, _BUG)

    def _enter(self) -> web.Response:
        answer = web.Response(text=_ENTERED, content_type="text/html")
        answer.set_cookie(COOKIE, self._guard.cookie, httponly=True, samesite="Strict", path="/")
        return answer

    async def _page(self, _: web.Request) -> web.Response:
        try:
            html = await asyncio.to_thread(self.pages.page)
        except BatchswapError as error:  # also for a moment while a run creates the ledger
            return _trouble(503, str(error))
        except Exception:  # a bug, which the page must survive overnight
            log.exception("the page cannot be made")
            return _trouble(500, _BUG)
        answer = web.Response(text=html.text, content_type="text/html")
        answer.headers["Content-Security-Policy"] = f"{html.policy}; frame-ancestors 'none'"
        return answer

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        try:
            text, content_type = await asyncio.to_thread(scrape, self._ledger, accept)
        except MissingExtra as error:
            raise web.HTTPNotImplemented(reason=str(error)) from error
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send changes until the browser leaves. Its handler is then cancelled."""
        since = parse_mark(request.headers.get("Last-Event-ID") or request.query.get("since", ""))
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(message("hello", {"token": self._guard.page_token}))
        async for text in self.feed.follow(since):
            await answer.write(text)
        return answer

    async def _piece(self, request: web.Request) -> web.Response:
        number, first = int(request.match_info["number"]), int(request.match_info["first"])
        text = await asyncio.to_thread(self.pages.piece, number, first)
        return web.Response(text=text, content_type="text/javascript")

    async def _result(self, request: web.Request) -> web.StreamResponse:
        row = await asyncio.to_thread(self.pages.file, int(request.match_info["task"]))
        return _file(None if row is None else media_files.result_file(row, self._out))

    async def _original(self, request: web.Request) -> web.StreamResponse:
        row = await asyncio.to_thread(self.pages.file, int(request.match_info["task"]))
        return _file(None if row is None else media_files.target_file(row))

    async def _picture(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(media_files.picture, self._ledger, request.match_info["name"])
        if not found:
            raise web.HTTPNotFound(reason="there is no such picture")
        return web.Response(body=found, content_type="image/webp")

    async def _take_order(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(reason="an order must be JSON")
        try:
            async with asyncio.timeout(RECEIVE):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason="the order did not arrive") from None
        order = orders.parse_order(body)
        async with self._order:
            words = await asyncio.to_thread(orders.carry_out, order, self._ledger, self._out)
        return _answer(200, words)


def _answer(status: int, words: str) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode({"words": safe(words)}), content_type="application/json"
    )


def _refuse(status: int, words: str) -> web.Response:
    return _answer(status, words)


def _trouble(status: int, words: str) -> web.Response:
    """Return a page that loads itself again."""
    return web.Response(status=status, text=_TROUBLE.format(escape(safe(words))), content_type="text/html")


def _file(path: Path | None) -> web.StreamResponse:
    """Return a file, of which a browser can ask for parts."""
    if path is None:
        raise web.HTTPNotFound(reason="there is no such file")
    kind = media_files.TYPES[path.suffix.lower()]
    return web.FileResponse(path, chunk_size=256 * 1024, headers={"Content-Type": kind})


@asynccontextmanager
async def serving(ledger: Path, out: Path, host: str, port: int) -> AsyncIterator[str]:
    """Serve inside the context, and yield the address to open. Raise UsageError if it cannot listen there."""
    listening = _listen(host.strip("[]"), port)
    guard = guard_of(host)
    server = WatchServer(ledger, out, guard)
    looking = asyncio.create_task(server.feed.run())
    runner = web.AppRunner(
        server.application(), access_log=None, logger=http_log, shutdown_timeout=0.5, handler_cancellation=True
    )
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        query = f"?{TOKEN}={guard.token}" if guard.needs_token else ""
        yield f"http://{shown}:{listening.getsockname()[1]}/{query}"
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        server.feed.end()
        await runner.cleanup()
        listening.close()
        server.pages.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        number = (error.errno or 0) if isinstance(error, OSError) else 0
        reason = os.strerror(number) if number > 0 else "it is not an address of this machine"
        raise UsageError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from error
