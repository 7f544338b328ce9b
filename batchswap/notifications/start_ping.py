"""The ping at the start of a run, in a thread: the run does not wait for it."""

import asyncio
import threading
from contextlib import suppress

from batchswap.network import Routes
from batchswap.notifications.http_call import HttpCall, Sent, make, origin_of

PATIENCE = 10.0
"""Seconds that the end of a run waits for the ping of its start, which has to come first."""
_LOOK_EVERY = 0.05


class StartPing:
    """Sends one call."""

    def __init__(self, call: HttpCall, routes: Routes) -> None:
        self._call, self._routes = call, routes
        self._stop = threading.Event()
        self._sent: list[Sent] = []
        self._thread = threading.Thread(target=self._run, name="start ping", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the limit of threads
            self._sent.append(Sent(call.kind, origin_of(call.url), "no thread could be started"))

    def _run(self) -> None:
        with suppress(Exception):
            asyncio.run(self._make())

    async def _make(self) -> None:
        task = asyncio.ensure_future(make(self._call, self._routes))
        while not task.done() and not self._stop.is_set():
            await asyncio.wait([task], timeout=_LOOK_EVERY)
        if task.done():
            self._sent.append(task.result())
        task.cancel()

    async def wait(self) -> None:
        """Wait until the call has ended, at most PATIENCE seconds, and give it up then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._thread.is_alive():  # noqa: ASYNC110 - the thread has a loop of its own
                    await asyncio.sleep(_LOOK_EVERY)
        self._stop.set()

    def results(self) -> list[Sent]:
        """Return what became of the call, if it is known."""
        self._stop.set()
        return list(self._sent)
