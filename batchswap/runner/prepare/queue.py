"""Feed queued tasks from the ledger to their preparation, a few ahead of the submits."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from math import inf
from typing import Any

from batchswap.errors import Exit
from batchswap.ledger import transitions
from batchswap.ledger.selections import Queue, Selection
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.prepare import LOOK_AGAIN, Preparing
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.task_context import Ready
from batchswap.tasks import Attempt, Task

CHECK_EVERY = 0.1
"""Least time in seconds between two checks of the free space."""


class Queueing:
    """The tasks of a selection, page by page. `ready` are prepared tasks; `preparing` counts those in preparation."""

    def __init__(self, run: RunContext, selection: Selection, prepare: Preparing) -> None:
        self._run, self._selection, self._prepare = run, selection, prepare
        self._pages = Queue(run.ledger.db, selection).pages()
        self._coming: deque[tuple[Task, Attempt | None]] = deque()
        self._exhausted = False
        self._again: set[int] = set()
        """Tasks that returned to the queue. Skip them on later pages."""
        self.ready: deque[Ready] = deque()
        self.preparing = 0
        self._checked_at = -inf

    def is_empty(self) -> bool:
        """Return whether no task is left to submit."""
        return not (self.ready or self._coming) and self._exhausted

    def has_more(self) -> bool:
        """Return whether a task is left to submit, after a look into the ledger."""
        return bool(self.ready or self._coming) or self._next_page()

    def begin_again(self) -> None:
        """Read the ledger's queue from the start, because tasks were added."""
        self._pages = Queue(self._run.ledger.db, self._selection).pages()
        self._exhausted, self._again = False, set()

    def resend(self, task: Task, attempt: Attempt) -> None:
        """Add an uncertain attempt, to send again with its Idempotency-Key."""
        self._coming.append((task, attempt))

    def put_again(self, task_id: int) -> None:
        """Add a task whose generation failed and may be paid for again."""
        self._again.add(task_id)
        self._coming.append((transitions.find_task(self._run.ledger.db, task_id), None))

    def prepare_again(self, task: Task) -> None:
        """Add a refused task whose preparation is no longer valid."""
        self._coming.appendleft((task, None))

    def fill(self, places: float = inf) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield preparations, so that submits need not wait for uploads.

        `places`: the submits that will be possible before the run leaves.
        """
        run = self._run
        if run.state.submit_stop is not None or run.state.run_stop is not None:
            return
        while self.ready and self.ready[0].is_stale(run.clock.now()):
            stale = self.ready.popleft()
            self._coming.appendleft((stale.task, stale.again))
        if self.ready and not self._has_room():
            return  # the disk may fill up while prepared tasks wait for their place
        while self.preparing + len(self.ready) < min(run.settings.ahead, places):
            if not self._coming and not self._next_page():
                return
            if not self._has_room():
                return
            task, again = self._coming.popleft()
            self.preparing += 1
            yield self._make_ready(task, again)

    def _next_page(self) -> bool:
        if self._exhausted:
            return False
        page = next(self._pages, None)
        self._exhausted = page is None
        self._prepare.expect(page or ())
        self._coming.extend((task, None) for task in page or () if task.id not in self._again)
        return bool(page)

    def _has_room(self) -> bool:
        """Return whether results can be stored. Stop submitting if not; wait if the file system is away."""
        run = self._run
        now = run.clock.monotonic()
        if now - self._checked_at < CHECK_EVERY:
            return True
        if not run.store.answers():
            asyncio.get_running_loop().call_later(LOOK_AGAIN, run.state.wake)
            return False
        obstacle = self._obstacle()
        if obstacle is not None:
            run.state.stop_submits(Stop(Exit.FAILED, f"{obstacle}: nothing is submitted", "disk"))
            return False
        self._checked_at = now
        return True

    def _obstacle(self) -> str | None:
        store, settings = self._run.store, self._run.settings
        if not store.is_writable():
            return f"cannot write to --out {settings.out}"
        free, least = store.free(), settings.min_free
        if free < least:
            return f"{free / 1e9:.1f} GB free under --out, less than --min-free {least / 1e9:g} GB"
        return None

    async def _make_ready(self, task: Task, again: Attempt | None) -> None:
        try:
            ready = await self._prepare.prepare(task, again)
            if ready is not None:
                self.ready.append(ready)
        finally:
            self.preparing -= 1
