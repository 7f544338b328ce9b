"""The loop: it gives every place in the key's window to the request that serves the batch best, and waits otherwise."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

from batchswap.errors import Exit
from batchswap.ledger import transitions
from batchswap.ledger.enrolment import duplicates, enrol
from batchswap.ledger.selections import Selection
from batchswap.ledger.transitions import Stamp
from batchswap.runner.collect.download import Fetching
from batchswap.runner.collect.poll import Collecting
from batchswap.runner.collect.reuse import reuse
from batchswap.runner.context import Desk
from batchswap.runner.prepare.prepare import Preparing
from batchswap.runner.prepare.pricing import Prices
from batchswap.runner.prepare.queue import Queueing
from batchswap.runner.prepare.uploads import hash_file
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.submit.balance_probe import Balance
from batchswap.runner.submit.submit import Submitting, same_inputs_words
from batchswap.runner.task_context import Job, Ready, class_of
from batchswap.tasks import Task

DAY = 86_400.0
LOOK_EVERY = 30.0
"""Seconds between two looks at the time of day, at most, with a deadline: the clock may be set."""
GRACE = 10.0
"""Seconds that open calls get to end when the run is ended."""
SLICE = 1.0
"""Seconds of it that one wait counts at most: a process that was stopped still reads what has come meanwhile."""
LAST = 1.0
"""Seconds that a last look gets when --patience is over."""
AWAY = 5.0
"""Seconds by which the loop wakes too late where the whole process was stopped."""

Step = Callable[[], Coroutine[Any, Any, None]]


class Loop:
    """Works off a selection. `work` returns when nothing is left to do, or the run was ended."""

    def __init__(self, desk: Desk, selection: Selection) -> None:
        self._desk = desk
        self._is_limited = desk.pacer.limit() is not None
        self._calls = self._submits = self._fetches = 0
        self._begun_at = -inf
        """When a submit or a download last began."""
        self._was_granted = False
        """Whether the last place went to a preparation or the like: a task that is ready goes before one more."""
        self.prices = prices = Prices(desk)
        self.queue = Queueing(desk, selection, Preparing(desk, prices), self._spawn)
        self._balance = Balance(desk)
        self.submitting = Submitting(desk, prices)
        self.collecting = Collecting(desk, prices, self.submitting, fetch=self.fetch, requeue=self.queue.put_again)
        self._fetching = Fetching(desk, self._ask_again)
        desk.is_quiet = lambda: self.in_flight <= 1 and not self.collecting.jobs
        self.hear: Callable[[], Coroutine[Any, Any, None]] | None = None
        """Comes back when every callback that has come in is worked off."""
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self.collecting.jobs) + self._submits

    # What comes in from outside.

    def accompany(self, work: Coroutine[Any, Any, None]) -> None:
        """Something that goes on until the loop ends; when it fails, everything ends."""
        self._spawn(work, lambda: None)

    def fetch(self, job: Job, urls: tuple[str, ...]) -> None:
        """A result is ready."""
        self._fetches += 1
        self._begun_at = self._desk.clock.monotonic()
        self._fetching.note(self._fetches)
        self._spawn(self._fetching.save(job, urls), self._fetched)

    def _fetched(self) -> None:
        self._fetches -= 1

    def _ask_again(self, job: Job) -> None:
        self.collecting.watch(job, due=True)

    # The loop.

    async def work(self, begin: Callable[[], None]) -> None:
        """`begin` puts in what an earlier run left. Raises what a step raises: a bug, or a ledger that is full."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                begin()
                while await self._goes_on():
                    await self._turn()
                await self._let_calls_end()
        except ExceptionGroup as group_error:
            # One broken step ends all others; the first one says why, the rest fell with it.
            raise _first(group_error) from group_error

    async def _goes_on(self) -> bool:
        """Whether anything is left. At the end, rows that were edited while their task was at work are queued."""
        if not self._is_finished():
            return True
        desk = self._desk
        edited = await desk.ledger.write(self._take_edits)
        if edited + await reuse(desk.ledger, desk.settings, desk.account, desk.say):
            self.queue.begin_again()
        if desk.ending is None and self.hear is not None:
            await self.hear()  # one may have begun new work
        return not self._is_finished()

    def _take_edits(self, db: sqlite3.Connection, stamp: Stamp) -> int:
        """Rows that were edited while their task was at work; another batch may have their new inputs."""
        desk, settings = self._desk, self._desk.settings
        taken = enrol.take_edits(db, stamp)
        if taken:
            decision = duplicates.Decision(settings.duplicates)
            found = duplicates.settle_late(db, settings.batches, decision, desk.account, hash_file)
            for each in found:
                transitions.unfit(db, stamp, each.task.id, code="duplicate", reason=same_inputs_words(each.other))
        return taken

    async def _turn(self) -> None:
        desk = self._desk
        self.queue.fill()
        now = desk.clock.monotonic()
        self._look_at_deadline()
        desk.is_patience_over(now - LAST)
        step, wait = self._choose(now)
        if step is not None:
            wait = desk.pacer.claim()
            if not wait:
                self._calls += 1
                self._spawn(step(), self._called)
                await asyncio.sleep(0)
                return
        if not self._is_finished():
            look = inf if desk.settings.deadline is None else LOOK_EVERY
            await self._wait(min(wait, look, self._until_deadline(), desk.patience.ends_at() + LAST - now))

    async def _wait(self, seconds: float) -> None:
        """Until something changes, at most `seconds`. The time in which the process was stopped tries no patience."""
        desk = self._desk
        wakes_at = desk.clock.monotonic() + max(seconds, 0.0)
        await desk.wait(seconds)
        if (late := desk.clock.monotonic() - wakes_at) > AWAY:
            desk.patience.away(late)

    def _called(self) -> None:
        self._calls -= 1

    def _spawn(self, work: Coroutine[Any, Any, None], done: Callable[[], None]) -> None:
        if self._group is None:
            raise RuntimeError("the loop does not run")

        async def run() -> None:
            try:
                await work
            finally:
                done()
                self._desk.nudge()

        task = self._group.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it was never awaited

    def _choose(self, now: float) -> tuple[Step | None, float]:
        """The request that should leave next, or None and how long to wait if nothing changes. Changes nothing."""
        desk = self._desk
        if desk.ending is not None or self._calls >= desk.settings.workers:
            return None, inf
        if desk.probe_at < inf:
            probe_at = inf if self._balance.is_looking else min(desk.probe_at, desk.patience.ends_at())
            return (self._balance.probe, 0.0) if probe_at <= now else (None, probe_at - now)
        look_at = inf if self._balance.is_looking else desk.patience.look_at()
        if look_at <= now:
            return self._balance.check, 0.0
        step, wait = self._choose_work(now)
        return step, min(wait, look_at - now)

    def _choose_work(self, now: float) -> tuple[Step | None, float]:
        """The same, of what serves the batch."""
        desk = self._desk
        waiting = bool(self.queue.ready) and desk.no_submits is None and not desk.is_short and not self._is_held()
        is_unclear = bool(len(desk.agenda)) and self.submitting.capacity.is_unclear(desk.served_at)
        if desk.turns:
            is_next = waiting and self._was_granted and not is_unclear and self._has_place(now)
            return (lambda: self._submit(desk.pacer.ticket())) if is_next else self._give_turn, 0.0
        if waiting and desk.in_doubt and not self._balance.is_looking:
            return self._balance.look, 0.0
        if waiting and desk.agenda.has_forgotten(now):
            return (lambda: self._poll(pressing=True)), 0.0
        if waiting and is_unclear:
            return self._ask_else(now)
        if waiting and self._has_place(now):
            return lambda: self._submit(desk.pacer.ticket()), 0.0
        pressing = waiting or not self._is_limited  # without a limit a poll takes nobody's place
        due = desk.agenda.next_at(now, pressing=pressing)
        if due <= now:
            return lambda: self._poll(pressing=pressing), 0.0
        return None, min(due, self.submitting.capacity.grows_at(now)) - now

    def _is_held(self) -> bool:
        """Whether results that wait for their download keep new submits back."""
        return self._fetching.is_behind(self._fetches) or self._fetching.holds_submits()

    def _ask_else(self, now: float) -> tuple[Step | None, float]:
        """A submit got a 429: is anything else served? Any poll tells that, else a look at the balance."""
        wait = self._desk.agenda.next_at(now, pressing=True) - now
        if wait <= 0.0:
            return (lambda: self._poll(pressing=True)), 0.0
        return (None, wait) if self._balance.is_looking else (self._balance.look, 0.0)

    def _has_place(self, now: float) -> bool:
        """Whether one more task may be submitted. After an unclear answer they go one by one until one is clear."""
        desk = self._desk
        if desk.in_doubt or (desk.unclear and self._submits):
            return False
        return self.in_flight < self.submitting.capacity.allowed(now) and self._first() is not None

    def _first(self) -> Ready | None:
        """The first task that may be submitted now: with a budget, few do until the price of their class is known."""
        trials, price = self.prices.trials, self.prices.of_ready
        return next((each for each in self.queue.ready if trials.may_go(each, price(each))), None)

    async def _give_turn(self) -> None:
        self._was_granted = True
        await self._desk.turns.give()

    async def _submit(self, ticket: int) -> None:
        desk = self._desk
        self._was_granted = False
        ready = self._first()
        if ready is None:
            return
        self.queue.ready.remove(ready)
        self.prices.trials.begin(ready)
        self._submits += 1
        self._begun_at = desk.clock.monotonic()
        try:
            outcome = await self.submitting.submit(ready, ticket)
            if isinstance(outcome, Job):
                self.collecting.watch(outcome)
                return
            self.prices.trials.end(ready.task.id)
            if outcome is not ready:
                desk.is_short = False
            if isinstance(outcome, Task):
                self.queue.prepare_anew(outcome)
            elif outcome is not None:
                self.queue.ready.appendleft(outcome)
        finally:
            self._submits -= 1
            if desk.is_short and not self.in_flight:  # no task is left that may cost less than it reserves
                desk.stop_submits(Stop(Exit.NO_CREDITS, "the budget is used up: the rest stays queued"))

    async def _poll(self, *, pressing: bool) -> None:
        agenda = self._desk.agenda
        task_id = agenda.likeliest(self._desk.clock.monotonic(), pressing=pressing)
        if task_id is not None:
            agenda.take(task_id)
            await self.collecting.poll(self.collecting.jobs[task_id])

    # The end.

    def _is_finished(self) -> bool:
        desk = self._desk
        if desk.ending is not None:
            return True
        busy = self._calls or self._fetches or self.queue.preparing or desk.turns or self.collecting.jobs
        queued = desk.no_submits is None and not self.queue.is_empty()
        return not busy and not queued

    def _until_deadline(self) -> float:
        settings, clock = self._desk.settings, self._desk.clock
        by_the_day = inf if settings.deadline is None else settings.deadline - clock.now()
        by_the_watch = inf if settings.ends_at is None else settings.ends_at - clock.monotonic()
        return max(0.0, min(by_the_day, by_the_watch))

    def _look_at_deadline(self) -> None:
        """Submitting stops early enough that what runs can be collected; at the deadline everything stops."""
        desk = self._desk
        left = self._until_deadline()
        if left == inf:
            return
        if left <= 0.0:
            desk.end(Stop(Exit.DEADLINE, "the deadline has come: the rest goes on with the next run"))
        elif desk.no_submits is None and self.queue.ready:
            first = self.queue.ready[0]
            expected = desk.agenda.durations(class_of(first.task.model, first.seconds).group).age_at(0.0, 0.9)
            limit = desk.pacer.limit()
            asking = (self.in_flight + 1) * desk.settings.rate_period / limit if limit else 0.0
            if left < expected + asking:
                near = f"the deadline is near, and a task may take {min(expected, DAY):.0f} s"
                desk.stop_submits(Stop(Exit.DEADLINE, f"{near}: nothing more is submitted, what runs is collected"))

    async def _let_calls_end(self) -> None:
        """Open calls get a little time; a submit among them is recorded either way.

        An API that answered nobody for all of --patience has had its time: submits alone get theirs in full.
        """
        desk = self._desk
        is_gone = desk.ending is not None and desk.ending.exit is Exit.UNAVAILABLE
        spent = desk.clock.monotonic() - self._begun_at if is_gone else 0.0
        left = GRACE - spent
        while left > 0.0 and (self._fetches or (self._submits if is_gone else self._calls)):
            begun = desk.clock.monotonic()
            await desk.wait(min(left, SLICE))
            left -= min(desk.clock.monotonic() - begun, SLICE)
        for task in self._tasks:
            task.cancel()


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
