"""A ledger, and processes that a schedule kills. They assert the invariants at every commit."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from batchswap.downloads import Verified
from batchswap.ledger import budgets
from batchswap.ledger.file import connection
from batchswap.runner.summary import Summary
from tests.chaos.faulty_service import FaultyDownloads, FaultyService
from tests.chaos.schedules import Kill, Schedule
from tests.loop.world import World
from tests.virtual import Inline, VirtualClock

T = TypeVar("T")

LONGEST_LIFE = 2 * 86400.0
"""Virtual seconds."""


class KillableWriter(Inline):
    """Commits until the process is killed."""

    def __init__(self, kill: Kill | None, check: Callable[[], None]) -> None:
        self._kill, self._check, self._commits = kill, check, 0

    def _work(self, work: Callable[[], T]) -> T:
        self._commits += 1
        is_last = self._kill is not None and self._kill.commit == self._commits
        if is_last and self._kill is not None and not self._kill.after:
            self.killed = True
        found = super()._work(work)
        self._check()
        if is_last:
            self.killed = True
            raise OSError("killed")
        return found


class JumpingClock(VirtualClock):
    """A wall clock that is set to another time now and then."""

    def __init__(self, jumps: list[tuple[float, float]]) -> None:
        self._jumps = jumps

    def now(self) -> float:
        at = self.monotonic()
        return super().now() + sum(by for when, by in self._jumps if when <= at)


class KillableRuns(World):
    """A ledger, and processes that the schedule ends. With `more`, they have other settings than the schedule's."""

    def __init__(self, folder: Path, schedule: Schedule, **more: object) -> None:
        super().__init__(
            folder,
            schedule.tasks,
            rate_limit=schedule.limit,
            in_flight=schedule.in_flight,
            workers=schedule.workers,
            budget=schedule.budget,
            paid_attempts=schedule.paid_attempts,
            **more,
        )
        self.schedule = schedule
        self.shelf = FaultyDownloads(schedule, self)
        self.lives = 0
        self.last: Summary | None = None
        self._eyes = connection.connect(self.settings.db, write=False)

    def close(self) -> None:
        self._eyes.close()

    def clock(self) -> VirtualClock:
        return JumpingClock(self.schedule.jumps)

    def executor(self) -> Inline:
        return KillableWriter(self._death, self.check_commit)

    @property
    def _death(self) -> Kill | None:
        return self.schedule.kills[self.lives] if self.lives < len(self.schedule.kills) else None

    @property
    def is_busy(self) -> bool:
        """Return whether a run would have something to do."""
        counts = self.counts()
        return any(counts[state] for state in ("queued", "submitting", "running", "fetching"))

    @property
    def is_dead(self) -> bool:
        return self._executor.killed

    def select(self, sql: str, *values: Any) -> list[Any]:
        return self._eyes.execute(sql, values).fetchall()

    # What must hold at each moment.

    def check_intent(self, ref: str) -> None:
        """Check invariant 1: the attempt is committed before its request leaves."""
        assert self.select("select state from attempts where ref = ?", ref) == [("open",)]

    def check_known(self, remote_id: str) -> None:
        """Check invariant 4."""
        assert self.select("select 1 from attempts where remote_id = ?", remote_id)

    def check_verified(self, output: str, part: Verified) -> None:
        """Check the first half of invariant 5: a file is recorded as verified before it gets its final name."""
        assert self.select("select sha256 from tasks where output = ? and state = 'fetching'", output) == [
            (part.sha256,)
        ]

    def check_commit(self) -> None:
        """Check invariants 5 (done after the rename) and 7 (money) at every commit."""
        done = {output for (output,) in self.select("select output from tasks where state = 'done'")}
        assert done <= set(self.shelf.files)
        if self.settings.budget is not None:
            [(run_id,)] = self.select("select max(id) from runs")
            assert budgets.committed(self._eyes, run_id) <= self.settings.budget

    async def live(self, service: FaultyService) -> bool:
        """Run one process to its end or its death. Return whether it reached its end."""
        life = asyncio.ensure_future(
            self.run(service, callbacks=self.schedule.callbacks is not None, handle_signals=False)
        )
        death = self._death

        def kill() -> None:
            self.kill()
            life.cancel()

        timer = None
        if death is not None and death.seconds is not None:
            timer = asyncio.get_running_loop().call_later(death.seconds, kill)
        try:
            async with asyncio.timeout(LONGEST_LIFE):
                self.last = await life
        except TimeoutError:
            raise AssertionError("it hangs") from None
        except (OSError, asyncio.CancelledError):
            assert self.is_dead
            return False
        finally:
            self.lives += 1
            if timer is not None:
                timer.cancel()
        return not self.is_dead
