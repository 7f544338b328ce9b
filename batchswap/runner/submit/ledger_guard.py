"""The ledger under the run's feet: nothing is submitted that it could not remember, and what it knows gets a name."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from batchswap.errors import Exit, LedgerFailed
from batchswap.events import LogEvent
from batchswap.ledger.file.location import LedgerFault, Location
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.task_context import Job, name_of


class LedgerGuard:
    """Asked before each submit, every few seconds, and at the end. `stack` closes what is opened."""

    def __init__(
        self, run: RunContext, location: Location, stack: ExitStack, in_flight: Callable[[], Iterable[Job]]
    ) -> None:
        """`in_flight`: what is paid for and not fetched yet."""
        self._run, self._location, self._stack, self._in_flight = run, location, stack, in_flight
        self._saving = asyncio.Lock()
        self._has_failed = False
        run.ledger.writer.location = location

    async def is_well(self) -> bool:
        """Whether the ledger's name still leads to it. If not: stop submitting, and save what is lost."""
        fault = self._location.fault()
        if fault is None:
            return True
        self._stop(f"{fault.words}: nothing more is submitted")
        async with self._saving:
            fault = self._location.fault()
            if fault is not None and fault.is_lost:
                await self._save(fault)
        return False

    def _stop(self, words: str) -> None:
        run, stop = self._run, Stop(Exit.UNEXPECTED, words)
        if stop in run.state.stops:
            return
        if run.state.submit_stop is None:
            run.state.stop_submits(stop)
        else:
            run.state.add_stop(stop)

    async def _save(self, fault: LedgerFault) -> None:
        run = self._run

        name = self._location.path
        try:
            self._location = await run.ledger.rescue(self._location, fault, self._stack)
        except LedgerFailed as error:
            if not self._has_failed:
                self._has_failed = True
                words = f"{error}: tried again every few seconds, as long as this run lasts"
                run.report(LogEvent.LEDGER_FAILED, words, logging.WARNING)
                for job in self._in_flight():
                    task, remote_id = name_of(job.task), job.attempt.remote_id
                    words = f"{task} is {remote_id}, and not fetched yet"
                    run.report(LogEvent.TASK_IN_FLIGHT, words, logging.WARNING, task=task, id=remote_id)
            return
        path = run.ledger.path
        if path == name:
            self._stop(f"what this run knows was written back to {name}, and a copy elsewhere is out of date")
        else:
            self._stop(f"what this run knows is in {path}: look at both, and go on with --db {path}")
