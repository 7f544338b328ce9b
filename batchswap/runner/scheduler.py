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
from batchswap.runner.choose import CheckBalance, ChoiceView, FreeCall, Poll, Probe, Request, Submit, Wait, choose
from batchswap.runner.collect.download import Fetching
from batchswap.runner.collect.poll import Collecting
from batchswap.runner.collect.reuse import reuse
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.outcomes import (
    Accepted,
    Outcome,
    PayAgain,
    PrepareAgain,
    ResultReady,
    Saved,
    SendAgain,
    Settled,
    StillRunning,
    UrlExpired,
)
from batchswap.runner.prepare.prepare import Preparing
from batchswap.runner.prepare.pricing import CostEstimates
from batchswap.runner.prepare.queue import Queueing
from batchswap.runner.prepare.uploads import hash_file
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.submit.balance_probe import BalanceProbe
from batchswap.runner.submit.submit import Submitting, same_inputs_words
from batchswap.runner.task_context import Job, Ready, class_of

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


class Loop:
    """Works off a selection. `work` returns when nothing is left to do, or the run was ended."""

    def __init__(self, run: RunContext, selection: Selection) -> None:
        self._run = run
        self._is_limited = run.pacer.limit() is not None
        self._calls = self._fetches = 0
        self._begun_at = -inf
        """When a submit or a download last began."""
        self._was_free_call = False
        """Whether the last place went to a preparation or the like: a task that is ready goes before one more."""
        self.prices = prices = CostEstimates(run)
        self.queue = Queueing(run, selection, Preparing(run, prices))
        self._balance = BalanceProbe(run)
        self.submitting = Submitting(run, prices)
        self.collecting = Collecting(run, prices)
        self._fetching = Fetching(run)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self.collecting.jobs) + self._run.evidence.submits

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
        run = self._run
        edited = await run.ledger.write(self._take_edits)
        if edited + await reuse(run.ledger, run.settings, run.account.name, run.report):
            self.queue.begin_again()
        if run.state.run_stop is None:
            await run.inbox.handled()  # one may have begun new work
        return not self._is_finished()

    def _take_edits(self, db: sqlite3.Connection, stamp: Stamp) -> int:
        """Rows that were edited while their task was at work; another batch may have their new inputs."""
        run, settings = self._run, self._run.settings
        taken = enrol.take_edits(db, stamp)
        if taken:
            decision = duplicates.Decision(settings.duplicates)
            found = duplicates.settle_late(db, settings.batches, decision, run.account.name, hash_file)
            for each in found:
                transitions.unfit(db, stamp, each.task.id, code="duplicate", reason=same_inputs_words(each.other))
        return taken

    async def _turn(self) -> None:
        run = self._run
        for work in self.queue.fill():
            self.spawn(work)
        now = run.clock.monotonic()
        self._look_at_budget()
        self._look_at_deadline()
        run.stop_if_spent(now - LAST)
        action = choose(self._view(now), now)
        if isinstance(action, Wait):
            wait = action.seconds
        elif not (wait := run.pacer.claim()):
            self._calls += 1
            self.spawn(self._send(action, run.pacer.ticket()))
            await asyncio.sleep(0)
            return
        if not self._is_finished():
            look = inf if run.settings.deadline is None else LOOK_EVERY
            await self._wait(min(wait, look, self._until_deadline(), run.health.patience.ends_at() + LAST - now))

    async def _wait(self, seconds: float) -> None:
        """Until something changes, at most `seconds`. The time in which the process was stopped tries no patience."""
        run = self._run
        wakes_at = run.clock.monotonic() + max(seconds, 0.0)
        await run.state.wait(seconds)
        if (late := run.clock.monotonic() - wakes_at) > AWAY:
            run.health.patience.away(late)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it next to the loop. When it fails, everything ends."""
        if self._group is None:
            raise RuntimeError("the loop does not run")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._run.state.wake()

    def _view(self, now: float) -> ChoiceView:
        """What the next request depends on. Changes nothing."""
        run, capacity, agenda = self._run, self.submitting.capacity, self._run.agenda
        if run.state.run_stop is not None or self._calls >= run.settings.workers:
            return ChoiceView(is_over=run.state.run_stop is not None, has_worker=False)
        is_waiting = (
            bool(self.queue.ready) and run.state.submit_stop is None and not run.state.is_short and not self._is_held()
        )
        in_flight, allowed = self.in_flight, capacity.allowed(now)
        is_pressing = is_waiting or not self._is_limited  # without a limit a poll takes no submit's place
        return ChoiceView(
            probe_at=run.health.probe_due(),
            is_paused=run.health.is_paused,
            is_probing=self._balance.is_looking,
            has_free_call=bool(run.state.turns),
            was_free_call=self._was_free_call,
            is_waiting=is_waiting,
            unclear=len(run.evidence.unclear_submits),
            is_after_unclear=bool(run.evidence.reads),
            submits=run.evidence.submits,
            in_flight=in_flight,
            allowed=allowed,
            is_in_budget=is_waiting and in_flight < allowed and self._first() is not None,
            is_capacity_unclear=bool(len(agenda)) and capacity.is_unclear(run.health.served_at),
            grows_at=capacity.grows_at(now),
            has_forgotten=is_waiting and agenda.has_forgotten(now),
            poll_at=agenda.next_at(now, pressing=is_pressing),
            is_pressing=is_pressing,
        )

    def _is_held(self) -> bool:
        """Return whether new submits wait for downloads, or for the trial of the folder that receives them."""
        is_tried = self._run.state.is_storage_tried
        return not is_tried or self._fetching.is_behind(self._fetches) or self._fetching.holds_submits()

    def _first(self) -> Ready | None:
        """The first task that may be submitted now: with a budget, few do until the price of their class is known."""
        trials, price = self.prices.trials, self.prices.of_ready
        return next((each for each in self.queue.ready if trials.may_go(each, price(each))), None)

    async def _send(self, request: Request, ticket: int) -> None:
        """Send the request. `ticket` names the place in the window that it has."""
        try:
            match request:
                case Submit():
                    await self._submit(ticket)
                case Poll(pressing):
                    await self._poll(pressing=pressing)
                case FreeCall():
                    self._was_free_call = True
                    await self._run.state.turns.give()
                case CheckBalance():
                    await self._balance.look()
                case Probe():
                    await self._balance.probe()
        finally:
            self._calls -= 1

    async def _submit(self, ticket: int) -> None:
        run = self._run
        self._was_free_call = False
        ready = self._first()
        if ready is None:
            return
        self.queue.ready.remove(ready)
        self.prices.trials.begin(ready)
        run.evidence.submit_began()
        self._begun_at = run.clock.monotonic()
        try:
            outcome = await self.submitting.submit(ready, ticket)
            if not isinstance(outcome, Accepted):
                self.prices.trials.end(ready.task.id)
                is_unsent = isinstance(outcome, SendAgain) and outcome.ready is ready
                run.state.note_short(is_short=run.state.is_short and is_unsent)
            self.apply(outcome)
        finally:
            run.evidence.submit_ended()

    def _look_at_budget(self) -> None:
        """Stop submitting when the budget is too small and no task is left that may cost less than it reserves."""
        state = self._run.state
        if state.is_short and state.submit_stop is None and not self.in_flight:
            state.stop_submits(Stop(Exit.NO_CREDITS, "the budget is used up: the rest stays queued"))

    async def _poll(self, *, pressing: bool) -> None:
        agenda = self._run.agenda
        task_id = agenda.likeliest(self._run.clock.monotonic(), pressing=pressing)
        if task_id is not None:
            agenda.take(task_id)
            self.apply(await self.collecting.poll(self.collecting.jobs[task_id]))

    async def _download(self, job: Job, urls: tuple[str, ...]) -> None:
        try:
            self.apply(await self._fetching.save(job, urls))
        finally:
            self._fetches -= 1

    def apply(self, outcome: Outcome) -> None:
        """Move a task between queued, ready, running and downloading. Nothing else does."""
        match outcome:
            case Accepted(job, is_due):
                self.collecting.watch(job, due=is_due)
            case UrlExpired(job):
                self.collecting.watch(job, due=True)
            case SendAgain(ready):
                self.queue.ready.appendleft(ready)
            case PrepareAgain(task):
                self.queue.prepare_anew(task)
            case PayAgain(task_id):
                self.queue.put_again(task_id)
            case ResultReady(job, urls):
                self._fetches += 1
                self._begun_at = self._run.clock.monotonic()
                self._fetching.note(self._fetches)
                self.spawn(self._download(job, urls))
            case StillRunning() | Saved() | Settled():
                pass

    # The end.

    def _is_finished(self) -> bool:
        run = self._run
        if run.state.run_stop is not None:
            return True
        busy = self._calls or self._fetches or self.queue.preparing or run.state.turns or self.collecting.jobs
        queued = run.state.submit_stop is None and not self.queue.is_empty()
        return not busy and not queued

    def _until_deadline(self) -> float:
        settings, clock = self._run.settings, self._run.clock
        by_the_day = inf if settings.deadline is None else settings.deadline - clock.now()
        by_the_watch = inf if settings.ends_at is None else settings.ends_at - clock.monotonic()
        return max(0.0, min(by_the_day, by_the_watch))

    def _look_at_deadline(self) -> None:
        """Submitting stops early enough that what runs can be collected; at the deadline everything stops."""
        run = self._run
        left = self._until_deadline()
        if left == inf:
            return
        if left <= 0.0:
            run.state.stop_run(Stop(Exit.DEADLINE, "the deadline has come: the rest goes on with the next run"))
        elif run.state.submit_stop is None and self.queue.ready:
            first = self.queue.ready[0]
            expected = run.agenda.durations(class_of(first.task.model, first.seconds).group).age_at(0.0, 0.9)
            limit = run.pacer.limit()
            asking = (self.in_flight + 1) * run.settings.rate_period / limit if limit else 0.0
            if left < expected + asking:
                near = f"the deadline is near, and a task may take {min(expected, DAY):.0f} s"
                run.state.stop_submits(
                    Stop(Exit.DEADLINE, f"{near}: nothing more is submitted, what runs is collected")
                )

    async def _let_calls_end(self) -> None:
        """Open calls get a little time; a submit among them is recorded either way.

        An API that answered nobody for all of --patience has had its time: submits alone get theirs in full.
        """
        run = self._run
        is_gone = run.state.run_stop is not None and run.state.run_stop.exit is Exit.UNAVAILABLE
        spent = run.clock.monotonic() - self._begun_at if is_gone else 0.0
        left = GRACE - spent
        while left > 0.0 and (self._fetches or (run.evidence.submits if is_gone else self._calls)):
            begun = run.clock.monotonic()
            await run.state.wait(min(left, SLICE))
            left -= min(run.clock.monotonic() - begun, SLICE)
        for task in self._tasks:
            task.cancel()


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
