"""Ctrl-C, SIGTERM and SIGHUP: the first signal ends the run in order, the second one exits at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchswap.errors import Exit
from batchswap.events import LogEvent, Report
from batchswap.runner.stop_reasons import Stop

_ENDS = {
    signal.SIGINT: Exit.INTERRUPTED,
    signal.SIGTERM: Exit.TERMINATED,
    signal.SIGHUP: Exit.TERMINATED,
}


@contextmanager
def handled(stop_run: Callable[[Stop], None], report: Report) -> Iterator[None]:
    """Let signals end the run within the context. An immediate exit loses nothing: the ledger is always complete."""
    loop = asyncio.get_running_loop()
    # Under nohup, SIGHUP is ignored and the run outlives its terminal.
    numbers = [number for number in _ENDS if number is not signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    seen: list[signal.Signals] = []

    def handle(number: signal.Signals) -> None:
        if seen and number is signal.SIGHUP:
            return  # both the kernel and the shell send SIGHUP when the terminal closes
        if seen:
            os._exit(_ENDS[number])
        seen.append(number)
        stop_run(Stop(_ENDS[number], "interrupted" if number is signal.SIGINT else "terminated"))
        words = "ending: nothing more is submitted, open calls get up to 10 s; a second signal exits at once"
        report(LogEvent.INTERRUPTED, words)

    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
