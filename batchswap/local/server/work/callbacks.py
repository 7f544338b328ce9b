"""The end of a task, told to the URL that asked for it: a few times, and across restarts, as its record says."""

import asyncio
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
"""Deliveries at once."""
IDLE = 3600.0


class Callbacks:
    """`describe` makes a record's TaskInfo."""

    def __init__(
        self, records: TaskStore, fetcher: Fetcher, clock: Clock, waits: tuple[float, ...],
        describe: Callable[[StoredTask], wire.TaskInfo],
    ) -> None:  # fmt: skip
        self._records, self._fetcher, self._clock = records, fetcher, clock
        self._waits, self._describe = waits, describe
        self._busy: set[str] = set()
        self._called = asyncio.Event()

    def call(self) -> None:
        """There is a new one, or one is over."""
        self._called.set()

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Deliver each callback when it is due, for ever."""
        while True:
            self._called.clear()
            pause = IDLE
            for due, record in self._records.find_callbacks(GROUP):
                if record.id in self._busy:
                    continue
                if due > self._clock.now():
                    pause = due - self._clock.now()
                    break
                self._busy.add(record.id)
                group.create_task(self._deliver(record))
            try:
                async with asyncio.timeout(pause):
                    await self._called.wait()
            except TimeoutError:
                continue

    async def _deliver(self, record: StoredTask) -> None:
        assert record.callback_url is not None
        body = msgspec.json.encode(self._describe(record).to_json())
        taken = await self._fetcher.post(record.callback_url, body)
        left = self._waits[record.callback_tries :]
        due = None if taken or not left else self._clock.now() + left[0]
        try:
            await self._records.put_off(record.id, due)
        except sqlite3.Error:  # a full disk: it stays busy, so that the receiver is not called again and again
            log.exception("the callback of task %s could not be recorded", record.id)
            return
        self._busy.discard(record.id)
        self.call()
