"""Deliver the TaskInfo of an ended task to its callback_url: with a few retries, also across restarts."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable

import msgspec

from batchswap import wire
from batchswap.clock import Clock
from batchswap.local.server.store.task_store import StoredTask, TaskStore
from batchswap.local.server.work.input_fetcher import Fetcher

log = logging.getLogger(__name__)

GROUP = 32
"""Maximum of deliveries at once."""
IDLE = 3600.0


class Callbacks:
    """Delivers callbacks when they are due. `describe` makes a record's TaskInfo."""

    def __init__(
        self, records: TaskStore, fetcher: Fetcher, clock: Clock, waits: tuple[float, ...],
        describe: Callable[[StoredTask], wire.TaskInfo],
    ) -> None:  # fmt: skip
        self._records, self._fetcher, self._clock = records, fetcher, clock
        self._waits, self._describe = waits, describe
        self._busy: set[str] = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look again for callbacks that are due."""
        self._woken.set()

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Deliver each callback when it is due, until cancelled."""
        while True:
            self._woken.clear()
            pause = IDLE
            for due, record in self._records.find_callbacks(GROUP):
                if record.id in self._busy:
                    continue
                if due > self._clock.now():
                    pause = due - self._clock.now()
                    break
                self._busy.add(record.id)
                group.create_task(self._deliver(record))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _deliver(self, record: StoredTask) -> None:
        assert record.callback_url is not None
        body = msgspec.json.encode(self._describe(record).to_json())
        taken = await self._fetcher.post(record.callback_url, body)
        left = self._waits[record.callback_tries :]
        due = None if taken or not left else self._clock.now() + left[0]
        try:
            await self._records.record_callback(record.id, due)
        except sqlite3.Error:  # such as a full disk: it stays busy, so that the receiver does not get endless requests
            log.exception("cannot record the callback of task %s: no further attempt before a restart", record.id)
            return
        self._busy.discard(record.id)
        self.wake()
