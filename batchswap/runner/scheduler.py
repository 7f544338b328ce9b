"""The loop: give each place in the key's window to the most useful request, and wait otherwise."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

from batchswap.errors import Exit
from batchswap.events import LogEvent
from batchswap.ledger import transitions
from batchswap.ledger.enrolment import duplicates, enrol
from batchswap.ledger.enrolment.input_files import hash_file
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
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.submit.balance_probe import BalanceProbe
from batchswap.runner.submit.submit import Submitting, unpaid_words
from batchswap.runner.task_context import Job, Ready, class_of

DAY = 86_400.0
CHECK_EVERY = 30.0
"""Longest wait in seconds when there is a deadline, because the clock may be set."""
GRACE = 10.0
"""Seconds that open calls get when the run ends."""
SLICE = 1.0
"""Longest part of GRACE that one wait counts for: a process that was stopped still reads the answers that came."""
LAST = 1.0
"""Seconds for a last probe when --patience is over."""
PRICED_AHEAD = 4
"""Tasks that a tick with a budget prices before their turn, because the budget may be too small for them."""
LONGEST_PAUSE = 15.0
"""Longest wait in seconds of a tick for its next request, unless its own rate is lower."""
AWAY = 5.0
"""Seconds of oversleeping from which the process is taken to have been stopped."""


class Loop:
    """Completes the selected tasks. `work` returns when nothing is left to do or the run was stopped."""

    def __init__(self, run: RunContext, selection: Selection) -> None:
        self._run = run
        self._is_limited = run.pacer.limit() is not None
        self._calls = self._fetches = 0
        self._begun_at = -inf
        """When the latest submit or download began."""
        self._was_free_call = False
        """Whether the last place went to a free call; a ready task then goes first."""
        self.prices = prices = CostEstimates(run)
        self._preparing = Preparing(run, prices)
        self.queue = Queueing(run, selection, self._preparing)
        self._balance = BalanceProbe(run)
        self.submitting = Submitting(run, prices)
        self.collecting = Collecting(run, prices)
        self._fetching = Fetching(run)
        if run.settings.mode == "collect":
            run.state.stop_submits(Stop(Exit.DEADLINE, "nothing is submitted (--collect-only)"))
        self._asleep = 0.0
        """Seconds by which the run's clock is ahead of the loop's, which stops while the machine sleeps."""
        self._has_left = False
        """Whether a tick has ended, with work left for the next one."""
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self.collecting.jobs) + self._run.evidence.submits

    @property
    def _downloading(self) -> int:
        """Results that wait for their download or are downloaded. Examinations and signatures hold up no submit."""
        return self._fetches - self._run.state.delivering

    async def work(self, begin: Callable[[], None]) -> None:
        """Work until the run is finished. `begin` adds the tasks that an earlier run left open.

        Raise the first exception of a step, such as a bug or a full disk.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._asleep = self._run.clock.monotonic() - asyncio.get_running_loop().time()
                begin()
                while await self._has_work():
                    await self._turn()
                await self._let_calls_end()
        except ExceptionGroup as group_error:
            # One failed step cancels all others, so the first exception is the cause.
            raise _cause(group_error) from group_error
        finally:
            await self._preparing.close()

    async def _has_work(self) -> bool:
        """Return whether work is left. At the end, queue the rows that were edited while their task was running."""
        if not self._is_finished():
            return True
        run = self._run
        edited = await run.ledger.write(self._take_edits)
        if edited + await reuse(run.ledger, run.settings, run.account.name, run.report):
            self.queue.begin_again()
        if run.state.run_stop is None:
            await run.inbox.handled()  # a callback may have started new work
        return not self._is_finished()

    def _take_edits(self, db: sqlite3.Connection, stamp: Stamp) -> int:
        """Queue rows that were edited while their task was running, except duplicates; return how many were edited."""
        run, settings = self._run, self._run.settings
        taken = enrol.take_edits(db, stamp)
        if taken:
            decision = duplicates.Decision(settings.duplicates)
            refused, _ = duplicates.treat(db, settings.batches, None, decision, run.account.name, hash_file)
            for each in refused:
                reason = unpaid_words(each.other, "the same inputs")
                transitions.unfit(db, stamp, each.task.id, code="duplicate", reason=reason)
        return taken

    async def _turn(self) -> None:
        run = self._run
        now = run.clock.monotonic()
        for work in self.queue.fill(self._places(now)):
            self.spawn(work)
        self._check_budget()
        self._check_deadline()
        run.stop_if_spent(now - LAST)
        action = choose(self._view(now), now)
        if isinstance(action, Wait):
            wait = action.seconds
        elif not (wait := run.pacer.claim()):
            self._calls += 1
            self.spawn(self._send(action, run.pacer.ticket()))
            await asyncio.sleep(0)
            return
        if self._may_leave(is_waiting=isinstance(action, Wait) or wait > self._longest_pause()):
            self._has_left = True
        if not self._is_finished():
            longest = inf if run.settings.deadline is None else CHECK_EVERY
            await self._wait(min(wait, longest, self._until_deadline(), run.health.patience.ends_at() + LAST - now))

    def _places(self, now: float) -> float:
        """Return how many tasks may be prepared: a tick submits no more than the API and the budget allow now."""
        run = self._run
        if not run.settings.leaves:
            return inf
        if run.state.is_short:
            return 0
        places = max(0, self.submitting.capacity.allowed(now) - self.in_flight)
        return min(places, PRICED_AHEAD) if run.settings.has_budget else places

    def _longest_pause(self) -> float:
        """Return the longest wait of a tick: it leaves in a pause, but not between two requests at a low rate."""
        settings = self._run.settings
        return max(LONGEST_PAUSE, 2.0 * settings.rate_period / settings.rate_limit if settings.rate_limit else 0.0)

    def _may_leave(self, *, is_waiting: bool) -> bool:
        """Return whether a tick leaves: nothing may be sent now, and nothing that it has begun is left."""
        run = self._run
        return run.settings.leaves and is_waiting and run.state.is_storage_tried and not self._is_busy()

    async def _wait(self, seconds: float) -> None:
        """Wait until something changes, at most `seconds`.

        Time in which the machine slept, or the process was stopped, spends no patience.
        """
        run = self._run
        wakes_at = run.clock.monotonic() + max(seconds, 0.0)
        await run.state.wait(seconds)
        now = run.clock.monotonic()
        asleep = now - asyncio.get_running_loop().time()
        slept, self._asleep = asleep - self._asleep, asleep
        if (late := max(slept, now - wakes_at)) > AWAY:
            run.health.patience.away(late)
            self.collecting.away(late)
            self._fetching.away(late)
            run.report(LogEvent.WOKEN, f"the machine slept, or this process was stopped, for {late:,.0f} s")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a step next to the loop. Its failure ends the run."""
        if self._group is None:
            raise RuntimeError("the loop does not run")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._run.state.wake()

    def _view(self, now: float) -> ChoiceView:
        """Return the facts for `choose`."""
        run, capacity, agenda = self._run, self.submitting.capacity, self._run.agenda
        if run.state.run_stop is not None or self._calls >= run.settings.workers:
            return ChoiceView(is_over=run.state.run_stop is not None, has_worker=False)
        is_waiting = (
            bool(self.queue.ready) and run.state.submit_stop is None and not run.state.is_short and not self._is_held()
        )
        in_flight, allowed = self.in_flight, capacity.allowed(now)
        if run.settings.mode == "tick" and agenda.next_at(now, pressing=False) <= now:
            is_waiting = False  # collect first
        is_pressing = is_waiting or not self._is_limited  # without a rate limit, a poll does not delay a submit
        return ChoiceView(
            probe_at=run.health.probe_due(),
            is_paused=run.health.is_paused,
            is_probing=self._balance.is_calling,
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
        """Return whether new submits wait for downloads, or for the test of the output folder."""
        is_tried = self._run.state.is_storage_tried
        return not is_tried or self._fetching.is_behind(self._downloading) or self._fetching.holds_submits()

    def _first(self) -> Ready | None:
        """Return the first task that may be submitted now. A budget allows few until their price is known."""
        trials, price = self.prices.trials, self.prices.of_ready
        return next((each for each in self.queue.ready if trials.may_go(each, price(each))), None)

    async def _send(self, request: Request, ticket: int) -> None:
        """Send the request for which `ticket` was claimed."""
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
                    await self._balance.check()
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

    def _check_budget(self) -> None:
        """Stop submitting when the budget is used up and no task in flight may cost less than its reservation."""
        state = self._run.state
        if state.is_short and state.submit_stop is None and not self.in_flight and self.queue.has_more():
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
        """Move a task between queued, ready, running and downloading. No other code does this."""
        match outcome:
            case Accepted(job, is_due):
                self.collecting.watch(job, due=is_due)
            case UrlExpired(job):
                self.collecting.watch(job, due=True)
            case SendAgain(ready):
                self.queue.ready.appendleft(ready)
            case PrepareAgain(task):
                self.queue.prepare_again(task)
            case PayAgain(task_id):
                self.queue.put_again(task_id)
            case ResultReady(job, urls):
                self._fetches += 1
                self._begun_at = self._run.clock.monotonic()
                self._fetching.note(self._downloading)
                self.spawn(self._download(job, urls))
            case StillRunning() | Saved() | Settled():
                pass

    def _is_finished(self) -> bool:
        run = self._run
        if run.state.run_stop is not None or self._has_left:
            return True
        queued = run.state.submit_stop is None and not self.queue.is_empty()
        return not self._is_busy() and not self.collecting.jobs and not queued

    def _is_busy(self) -> bool:
        """Return whether a call, a preparation or a download is in progress."""
        return bool(self._calls or self._fetches or self.queue.preparing or self._run.state.turns)

    def _until_deadline(self) -> float:
        settings, clock = self._run.settings, self._run.clock
        by_the_day = inf if settings.deadline is None else settings.deadline - clock.now()
        by_the_watch = inf if settings.ends_at is None else settings.ends_at - clock.monotonic()
        return max(0.0, min(by_the_day, by_the_watch))

    def _check_deadline(self) -> None:
        """Stop submitting early enough to collect the running tasks before the deadline; then end the run."""
        run = self._run
        left = self._until_deadline()
        if left == inf:
            return
        if left <= 0.0:
            run.state.stop_run(Stop(Exit.DEADLINE, "the deadline has passed: the next run continues with the rest"))
        elif run.state.submit_stop is None and self.queue.ready and not self._is_left_to_ticks():
            first = self.queue.ready[0]
            expected = run.agenda.durations(class_of(first.task.model, first.seconds).group).age_at(0.0, 0.9)
            limit = run.pacer.limit()
            polling = (self.in_flight + 1) * run.settings.rate_period / limit if limit else 0.0
            if left < expected + polling:
                near = f"the deadline is near, and a task may take {min(expected, DAY):.0f} s"
                run.state.stop_submits(
                    Stop(Exit.DEADLINE, f"{near}: nothing more is submitted, running tasks are collected")
                )

    def _is_left_to_ticks(self) -> bool:
        """Return whether a later tick collects the tasks, although this one must end soon (--max-duration)."""
        return self._run.settings.leaves and self._run.settings.deadline is None

    async def _let_calls_end(self) -> None:
        """Give open calls a little time to end. A submit among them is recorded in any case.

        If the API did not answer for all of --patience, the time that has passed counts, and only submits are awaited.
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


def _cause(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
