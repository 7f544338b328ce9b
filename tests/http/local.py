"""Run the local server in a thread, so that tests can send plain blocking requests."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from batchswap.clock import Clock, SystemClock
from batchswap.local.server.app import LocalServer, start
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.work.engine_interface import Engine
from tests.http.fake_engine import KEY, Client, PretendEngine


class SetClock(SystemClock):
    """The machine's clock, put forward by `ahead` seconds."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@dataclass(frozen=True)
class Running(Client):
    """A client of the running server."""

    server: LocalServer | None = None
    loop: asyncio.AbstractEventLoop | None = None
    stop: asyncio.Event | None = None

    def do(self, verb: Callable[..., Any], *values: Any) -> None:
        """Call a method of the server in its own loop."""
        assert self.loop is not None

        async def call() -> None:
            found = verb(*values)
            if inspect.isawaitable(found):
                await found

        asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)


@contextmanager
def in_thread(server: TCPServer) -> Iterator[int]:
    """Serve in a thread until the block ends. Yield the port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join(20)
            assert not thread.is_alive(), "the server does not end"


@contextmanager
def running(
    folder: Path, engine: Engine | None = None, clock: Clock | None = None, **settings: Any
) -> Iterator[Running]:
    """Run a server on `folder` until the block ends. Its errors, at the start or at the end, are raised here."""
    wanted = ServerSettings(folder, **{"keys": (KEY,), "workers": 1, **settings})
    started: Future[Running] = Future()

    async def serve() -> None:
        async with start(wanted, engine or PretendEngine(), clock) as server:
            here = Running(server.base_url, server.key, server, asyncio.get_running_loop(), asyncio.Event())
            started.set_result(here)
            assert here.stop is not None
            await here.stop.wait()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(asyncio.run, serve())
        either: set[Future[Any]] = {started, ended}
        wait(either, 20, FIRST_COMPLETED)
        if ended.done():
            ended.result()
        here = started.result(0)
        assert here.loop is not None
        assert here.stop is not None
        try:
            yield here
        finally:
            here.loop.call_soon_threadsafe(here.stop.set)
            ended.result(20)
