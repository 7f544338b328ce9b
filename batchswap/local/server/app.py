"""Start and stop the local server."""

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
from batchswap.local.server.routes.http import MAX_BODY, ApiHandler
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.signed_urls import SignedUrls
from batchswap.local.server.store.cleanup import Cleanup
from batchswap.local.server.store.database import Database
from batchswap.local.server.store.input_store import InputStore, make_folder
from batchswap.local.server.store.task_store import StoredTask, TaskStore
from batchswap.local.server.work.callbacks import Callbacks
from batchswap.local.server.work.detections import Detections
from batchswap.local.server.work.engine_interface import Engine
from batchswap.local.server.work.engine_pool import EnginePool
from batchswap.local.server.work.input_fetcher import Fetcher, Reach
from batchswap.local.server.work.mesh_engine import MeshEngine
from batchswap.local.server.work.task_inputs import TaskInputs
from batchswap.local.server.work.task_queue import TaskQueue, task_info

log = logging.getLogger(__name__)


def _shorten(record: logging.LogRecord) -> bool:
    """Log malformed HTTP as one line, without a traceback."""
    if record.exc_info and isinstance(record.exc_info[1], BadHttpMessage | web.RequestPayloadError):
        record.exc_info = None
    return True


http_log = logging.getLogger(f"{__name__}.http")
http_log.addFilter(_shorten)


class BackgroundJob(Protocol):
    """A job that runs as long as the server runs."""

    async def work(self, group: asyncio.TaskGroup) -> None: ...


@dataclass(frozen=True)
class LocalServer:
    """A running server. `key` is an API key that it accepts."""

    base_url: str
    key: str = field(repr=False)
    _context: ServerContext = field(repr=False)

    def maintain(self, on: bool) -> None:
        """Switch maintenance on or off. While it is on, every API request gets 455."""
        self._context.maintenance = on

    async def deposit(self, credit: float) -> None:
        """Add credits to the account."""
        await self._context.records.deposit(credit)


@asynccontextmanager
async def start(
    settings: ServerSettings, engine: Engine | None = None, clock: Clock | None = None
) -> AsyncIterator[LocalServer]:
    """Run the server inside the context. Raises UsageError when it cannot use the settings or the folder.

    Leaving the context stops running swaps. The next server on this folder starts them again without a new charge.
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
        database = Database(settings.folder / "tasks.db")
        stack.push_async_callback(database.close)
        context, jobs = await _build(
            stack, settings, engine=engine or MeshEngine(), clock=clock, database=database, own_url=own_url
        )
        background = asyncio.create_task(_run_all(jobs))
        background.add_done_callback(lambda ended: _refuse_after_failure(ended, context))
        app = _application(context, ApiHandler(context, keys, own_url))
        runner = web.AppRunner(app, access_log=None, logger=http_log, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening, backlog=1024).start()
        try:
            yield LocalServer(own_url, keys[0], context)
        finally:
            background.cancel()
            await asyncio.wait([background])


async def _build(
    stack: AsyncExitStack, settings: ServerSettings, *, engine: Engine, clock: Clock, database: Database, own_url: str
) -> tuple[ServerContext, tuple[BackgroundJob, ...]]:
    records, contents = TaskStore(database), InputStore(settings.folder, database, settings.max_input_bytes)
    urls = SignedUrls(await records.open_account(settings.balance), clock, settings.url_ttl)
    fetcher = Fetcher(settings.fetch_timeout, settings.max_input_bytes, reach_of(settings), settings.routes)
    stack.push_async_callback(fetcher.close)
    engines = EnginePool(settings, engine)
    stack.push_async_callback(engines.close)
    detections = Detections(settings, database, contents, engines, clock)
    inputs = TaskInputs(contents, detections, fetcher, engines, frozenset({settings.host.lower()}))
    quotes = Quotes(inputs, detections, settings)
    schedule = Schedule(settings.faults, settings.seed)

    def describe(record: StoredTask) -> wire.TaskInfo:
        return task_info(record, record.status, lambda: urls.media_url(record, own_url))

    callbacks = Callbacks(records, fetcher, clock, settings.callback_waits, describe)
    tasks = TaskQueue(settings, records, contents, engines, callbacks=callbacks, schedule=schedule, clock=clock)
    context = ServerContext(settings, clock, urls, records, contents, detections, inputs, quotes, tasks)
    return context, (tasks, detections, callbacks, Cleanup(settings, database, contents, clock))


def reach_of(settings: ServerSettings) -> Reach:
    """Return the addresses allowed for inputs and callbacks. Only a loopback server may use its own machine."""
    if settings.allow_private:
        return Reach.ALL
    return Reach.LOOPBACK if settings.is_loopback else Reach.PUBLIC


async def _run_all(jobs: tuple[BackgroundJob, ...]) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job.work(group))


def _refuse_after_failure(ended: asyncio.Task[None], context: ServerContext) -> None:
    """Refuse further requests when an unexpected error has ended the background jobs."""
    if not ended.cancelled() and (error := ended.exception()):
        log.critical("the local server no longer processes tasks: restart it", exc_info=error)
        context.maintenance = True


def _lock(settings: ServerSettings) -> FileLock:
    """Take a kernel lock. It disappears with the process, even after a crash."""
    lock = FileLock(settings.folder / "lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"another local server is using {settings.folder}: stop it, or serve another folder") from None
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


def _application(context: ServerContext, api: ApiHandler) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    for (method, path), handler in files.ROUTES.items():
        answer = files.bind(handler, context)
        for each in (method, "HEAD") if method == "GET" else (method,):
            app.router.add_route(each, path, answer)
    app.router.add_route("*", "/{path:.*}", api.answer)
    return app
