"""The progress of work on many files: a bar on a terminal, a dated line per minute elsewhere, or nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchswap.cli.console import Console
from batchswap.events import LogEvent, report
from batchswap.preflight.close_look import ShowCount

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_EVERY = 60.0
"""Seconds."""
DRAWN_EVERY = 0.1
"""The same for the bar."""


@contextmanager
def shown_progress(console: Console, title: str, *, is_shown: bool) -> Iterator[ShowCount]:
    """Yield a function that shows how many files of all are done."""
    if not is_shown or console.is_quiet:
        yield _show_nothing
    elif console.is_live:
        with _bar_on(console, title) as bar:
            yield bar
    else:
        yield FileLines(title).show


def _show_nothing(done: int, count: int) -> None:
    pass


class FileLines:
    """Logs a line, the first one after a minute."""

    def __init__(self, title: str, every: float = LINE_EVERY) -> None:
        self._title, self._every, self._shown_at = title, every, time.monotonic()

    def show(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._shown_at >= self._every and done < count:
            self._shown_at = now
            report(LogEvent.PROGRESS, f"{self._title}: {done:,} of {count:,}")


@contextmanager
def _bar_on(console: Console, title: str) -> Iterator[ShowCount]:
    """Draw a bar at the bottom of the terminal. A terminal that is closed does not end the work."""
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    terminal = Terminal(file=sys.stderr, highlight=False, markup=False, emoji=False)
    columns = TextColumn(title, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Bar(
        *columns, console=terminal, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=True
    )
    drawn = FileBar(console, bar)
    try:
        yield drawn.show
    finally:
        drawn.end()


class FileBar:
    """A bar that appears with the first file."""

    def __init__(self, console: Console, bar: "Bar") -> None:
        self._console, self._bar, self._drawn_at = console, bar, 0.0

    def show(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._drawn_at < DRAWN_EVERY and done < count:
            return
        self._drawn_at = now
        with self._ending_silently():
            if not self._bar.tasks:
                self._bar.start()
                self._bar.console.show_cursor()  # a killed process could not restore it
                self._bar.add_task("", total=count)
            self._bar.update(self._bar.tasks[0].id, completed=done, refresh=True)

    def end(self) -> None:
        with self._ending_silently():
            self._bar.stop()

    @contextmanager
    def _ending_silently(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._console.fall_silent()
