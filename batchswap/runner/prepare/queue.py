"""From the ledger's queue to tasks that are ready for their submit: some, so that no place waits, and not more."""

from collections import deque
from collections.abc import Coroutine, Iterator
from math import inf
from typing import Any

from batchswap.errors import Exit
from batchswap.ledger import transitions
from batchswap.ledger.selections import Queue, Selection
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.prepare import Preparing
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.task_context import Ready
from batchswap.tasks import Attempt, Task

LOOK_EVERY = 0.1
"""Seconds between two looks at the free space, at least."""


class Queueing:
    """The tasks of a selection, page by page. `ready` may be submitted; `preparing` counts those that are not yet."""

    def __init__(self, run: RunContext, selection: Selection, prepare: Preparing) -> None:
        self._run, self._selection, self._prepare = run, selection, prepare
        self._pages = Queue(run.ledger.db, selection).pages()
        self._coming: deque[tuple[Task, Attempt | None]] = deque()
        self._exhausted = False
        self._again: set[int] = set()
        """Tasks that came back to the queue: a later page has them too."""
        self.ready: deque[Ready] = deque()
        self.preparing = 0
        self._looked_at = -inf

    def is_empty(self) -> bool:
        """Whether nothing is left that could be submitted."""
        return not (self.ready or self._coming) and self._exhausted

    def begin_again(self) -> None:
        """Look through the ledger's queue once more, when it was gone through: something new has come into it."""
        self._pages = Queue(self._run.ledger.db, self._selection).pages()
        self._exhausted, self._again = False, set()

    def resend(self, task: Task, attempt: Attempt) -> None:
        """An uncertain attempt, for a provider that honours its Idempotency-Key."""
        self._coming.append((task, attempt))

    def put_again(self, task_id: int) -> None:
        """A failed generation that may be paid once more."""
        self._again.add(task_id)
        self._coming.append((transitions.find_task(self._run.ledger.db, task_id), None))

    def prepare_again(self, task: Task) -> None:
        """A refused task whose preparation no longer holds."""
        self._coming.appendleft((task, None))

    def fill(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield the work that keeps some tasks ready for their submit, so that no place waits for an upload."""
        run = self._run
        if run.state.submit_stop is not None or run.state.run_stop is not None:
            return
        while self.ready and self.ready[0].is_stale(run.clock.now()):
            stale = self.ready.popleft()
            self._coming.appendleft((stale.task, stale.again))
        if self.ready and not self._has_room():
            return  # what was made ready waits for its place, and the disk fills meanwhile
        while self.preparing + len(self.ready) < run.settings.ahead:
            if not self._coming and not self._next_page(self._pages):
                return
            if not self._has_room():
                return
            task, again = self._coming.popleft()
            self.preparing += 1
            yield self._make_ready(task, again)

    def _next_page(self, pages: Iterator[list[Task]]) -> bool:
        if self._exhausted:
            return False
        page = next(pages, None)
        self._exhausted = page is None
        self._prepare.expect(page or ())
        self._coming.extend((task, None) for task in page or () if task.id not in self._again)
        return bool(page)

    def _has_room(self) -> bool:
        """Whether what is paid for can be stored."""
        run = self._run
        now = run.clock.monotonic()
        if now - self._looked_at < LOOK_EVERY:
            return True
        obstacle = self._obstacle()
        if obstacle is not None:
            run.state.stop_submits(Stop(Exit.FAILED, f"{obstacle}: nothing is submitted"))
            return False
        self._looked_at = now
        return True

    def _obstacle(self) -> str | None:
        store, settings = self._run.store, self._run.settings
        if not store.is_writable():
            return f"nothing can be written to --out {settings.out}"
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
