"""Starting and stopping the local server."""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from filelock import FileLock, Timeout

from batchswap import wire
from batchswap.clock import Clock, SystemClock
from batchswap.errors import UsageError
from batchswap.local.faults import Schedule
from batchswap.local.server.context import ServerContext
from batchswap.local.server.pricing import Quotes
from batchswap.local.server.routes import files
from batchswap.local.server.routes.http import MAX_BODY, Edge
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.signed_urls import SignedUrls
from batchswap.local.server.store.cleanup import Sweeping
from batchswap.local.server.store.database import Journal
from batchswap.local.server.store.input_store import Contents, make_folder
from batchswap.local.server.store.task_store import StoredTask, TaskStore
from batchswap.local.server.work.callbacks import Callbacks
from batchswap.local.server.work.detections import Detections
from batchswap.local.server.work.engine_interface import Engine
from batchswap.local.server.work.input_fetcher import Fetcher, Reach
from batchswap.local.server.work.mesh_engine import MeshEngine
from batchswap.local.server.work.task_inputs import TaskInputs
from batchswap.local.server.work.task_queue import Production, task_info
from batchswap.local.server.work.worker_pool import EnginePool

log = logging.getLogger(__name__)


def _shorten(record: logging.LogRecord) -> bool:
    """A request that is broken HTTP is one line in the log and not a traceback."""
    if record.exc_info and isinstance(record.exc_info[1], BadHttpMessage | web.RequestPayloadError):
        record.exc_info = None
    return True


http_log = logging.getLogger(f"{__name__}.http")
http_log.addFilter(_shorten)


class Ongoing(Protocol):
    """Something that works by itself for as long as the server runs."""

    async def work(self, group: asyncio.TaskGroup) -> None: ...


@dataclass(frozen=True)
class LocalServer:
    """A server that is running. `key` is one that it lets in."""

    base_url: str
    key: str = field(repr=False)
    _context: ServerContext = field(repr=False)

    def maintain(self, on: bool) -> None:
        """While on, every call is answered 455."""
        self._context.maintenance = on

    async def deposit(self, credit: float) -> None:
        """Tops the account up."""
        await self._context.records.deposit(credit)


@asynccontextmanager
async def start(
    settings: ServerSettings, engine: Engine | None = None, clock: Clock | None = None
) -> AsyncIterator[LocalServer]:
    """The server, for as long as the context lasts. Raises UsageError when the settings or the folder will not do.

    Leaving ends the swaps that run; they are begun again, and not charged again, when the folder is next served.
    """
    settings.check()
    clock = clock or SystemClock()
    keys = settings.keys or (f"ak_{secrets.token_hex(16)}",)
    async with AsyncExitStack() as stack:
        make_folder(settings.folder)
        stack.callback(_lock(settings).release)
        listening = _listen(settings)
        stack.callback(listening.close)
        own_url = _own_url(settings, listening)
        journal = Journal(settings.folder / "tasks.db")
        stack.push_async_callback(journal.close)
        context, going = await _build(
            stack, settings, engine=engine or MeshEngine(), clock=clock, journal=journal, own_url=own_url
        )
        ongoing = asyncio.create_task(go_on(*going))
        ongoing.add_done_callback(lambda ended: _notice(ended, context))
        app = _application(context, Edge(context, keys, own_url))
        runner = web.AppRunner(app, access_log=None, logger=http_log, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening, backlog=1024).start()
        try:
            yield LocalServer(own_url, keys[0], context)
        finally:
            ongoing.cancel()
            await asyncio.wait([ongoing])


async def _build(
    stack: AsyncExitStack, settings: ServerSettings, *, engine: Engine, clock: Clock, journal: Journal, own_url: str
) -> tuple[ServerContext, tuple[Ongoing, ...]]:
    records, contents = TaskStore(journal), Contents(settings.folder, journal, settings.max_input_bytes)
    urls = SignedUrls(await records.open_account(settings.balance), clock, settings.url_ttl)
    fetcher = Fetcher(settings.fetch_timeout, settings.max_input_bytes, reach_of(settings))
    stack.push_async_callback(fetcher.close)
    engines = EnginePool(settings, engine)
    stack.push_async_callback(engines.close)
    detections = Detections(settings, journal, contents, engines, clock)
    inputs = TaskInputs(contents, detections, fetcher, engines, frozenset({settings.host.lower()}))
    quotes = Quotes(inputs, detections, settings)
    schedule = Schedule(settings.faults, settings.seed)

    def describe(record: StoredTask) -> wire.TaskInfo:
        return task_info(record, record.status, lambda: urls.media_url(record, own_url))

    callbacks = Callbacks(records, fetcher, clock, settings.callback_waits, describe)
    production = Production(settings, records, contents, engines, callbacks=callbacks, schedule=schedule, clock=clock)
    context = ServerContext(settings, clock, urls, records, contents, detections, inputs, quotes, production)
    return context, (production, detections, callbacks, Sweeping(settings, journal, contents, clock))


def reach_of(settings: ServerSettings) -> Reach:
    """Return where inputs and callbacks may lead: a server that others cannot reach may look at its own machine."""
    if settings.allow_private:
        return Reach.ALL
    return Reach.LOOPBACK if settings.is_loopback else Reach.PUBLIC


async def go_on(*going: Ongoing) -> None:
    """Run all background work until cancelled."""
    async with asyncio.TaskGroup() as group:
        for each in going:
            group.create_task(each.work(group))


def _notice(ended: asyncio.Task[None], context: ServerContext) -> None:
    """Refuse further tasks when a mistake in this program has ended the background work."""
    if not ended.cancelled() and (error := ended.exception()):
        log.critical("the local server has stopped working on tasks", exc_info=error)
        context.maintenance = True


def _lock(settings: ServerSettings) -> FileLock:
    """A kernel lock: gone with the process, however it ends."""
    lock = FileLock(settings.folder / "lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"another local server is using {settings.folder}") from None
    return lock


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


def _own_url(settings: ServerSettings, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    host = "127.0.0.1" if settings.is_wildcard else settings.host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _application(context: ServerContext, edge: Edge) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    for (method, path), handler in files.ROUTES.items():
        answer = files.bind(handler, context)
        for each in (method, "HEAD") if method == "GET" else (method,):
            app.router.add_route(each, path, answer)
    app.router.add_route("*", "/{path:.*}", edge.answer)
    return app
