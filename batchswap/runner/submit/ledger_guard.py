"""Watch the ledger file during a run: stop submitting when it is moved or replaced, and save its content."""

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
    """Checks the file before each submit, every few seconds, and at the end. `stack` closes saved copies."""

    def __init__(
        self, run: RunContext, location: Location, stack: ExitStack, in_flight: Callable[[], Iterable[Job]]
    ) -> None:
        """`in_flight` returns the paid tasks without a downloaded result."""
        self._run, self._location, self._stack, self._in_flight = run, location, stack, in_flight
        self._saving = asyncio.Lock()
        self._has_failed = False
        run.ledger.writer.location = location

    async def is_well(self) -> bool:
        """Return whether the ledger's path still leads to the open file. If not, stop submitting and save it."""
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
        run, stop = self._run, Stop(Exit.UNEXPECTED, words, "disk")
        if stop in run.state.stops:
            return
        if run.state.submit_stop is None:
            run.state.stop_submits(stop)
        else:
            run.state.add_stop(stop)

    async def _save(self, fault: LedgerFault) -> None:
        run, name = self._run, self._location.path
        try:
            self._location = await run.ledger.rescue(self._location, fault, self._stack)
        except LedgerFailed as error:
            if not self._has_failed:
                self._has_failed = True
                words = f"{error}: this run tries again every few seconds"
                run.report(LogEvent.LEDGER_FAILED, words, logging.WARNING)
                for job in self._in_flight():
                    task, remote_id = name_of(job.task), job.attempt.remote_id
                    words = f"{task} runs at the API as {remote_id}: its result is not downloaded yet"
                    run.report(LogEvent.TASK_IN_FLIGHT, words, logging.WARNING, task=task, id=remote_id)
            return
        path = run.ledger.path
        if path == name:
            self._stop(f"the ledger was written back to {name}: any copy elsewhere is out of date")
        else:
            self._stop(f"the ledger was saved as {path}: compare the two files, and continue with --db {path}")
