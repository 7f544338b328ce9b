"""The progress of a run: a live display on a terminal, one dated line per minute elsewhere, or nothing."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from batchswap.cli.console import Console, as_shown
from batchswap.events import LogEvent, report
from batchswap.report.formatting import fit, safe
from batchswap.report.progress import Progress, Shown, costs_line, one_line, tasks_line, time_line
from batchswap.runner.background import RunView, Watch

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.console import Group

LINE_EVERY = 60.0
DRAW_EVERY = 0.25
"""Seconds."""
ONE_LINE = 72
"""Columns that a bar with all numbers needs."""
LEAST_BAR = 12
"""Columns of a bar with the blanks around it."""


def choose(console: Console, *, progress: bool, title: str) -> Watch:
    """Return the display that suits stderr and the options."""
    if not progress or console.is_quiet:
        return watch_nothing
    if not console.is_live:
        return watch_lines
    return lambda look: watch_live(look, console, title)


async def watch_nothing(look: Callable[[], RunView]) -> None:
    """Show nothing, until cancelled."""
    await asyncio.Event().wait()


async def watch_lines(look: Callable[[], RunView], *, every: float = LINE_EVERY) -> None:
    """Log one line every `every` seconds."""
    progress = Progress(look(), time.monotonic())
    while True:
        await asyncio.sleep(every)
        shown = progress.at(look(), time.monotonic())
        report(LogEvent.PROGRESS, one_line(shown), progress=shown.to_json())


async def watch_live(look: Callable[[], RunView], console: Console, title: str) -> None:
    """Show a bar and some lines at the bottom of the terminal. Log lines scroll above them."""
    try:
        await _draw_on(look, console, title)
    except OSError:  # the terminal was closed; the run continues
        console.fall_silent()
        await watch_nothing(look)


async def _draw_on(look: Callable[[], RunView], console: Console, title: str) -> None:
    from rich.console import Console as Terminal
    from rich.live import Live
    from rich.text import Text

    terminal = Terminal(file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)
    progress = Progress(look(), time.monotonic())
    live = Live(console=terminal, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=True)
    with live:
        # Keep the cursor visible: a killed process could not restore it.
        terminal.show_cursor()
        console.through(lambda line: terminal.print(Text(line)))
        try:
            while True:
                live.update(draw(progress.at(look(), time.monotonic()), title, terminal), refresh=True)
                await asyncio.sleep(DRAW_EVERY)
        finally:
            console.through(None)


def draw(shown: Shown, title: str, terminal: "Terminal") -> "Group":
    """Return the display. On a narrow terminal, long lines are wrapped, not cut.

    All text is `Text`, so markup in names has no effect.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def text(words: str) -> Text:
        return Text(as_shown(safe(words), terminal.encoding), overflow="fold")

    share = shown.finished / shown.total if shown.total else 1.0
    figures, taken = f"{shown.finished:,}/{shown.total:,} {share:4.0%}", time_line(shown)
    rest = [tasks_line(shown), costs_line(shown), *([shown.waiting] if shown.waiting else [])]
    if terminal.width >= ONE_LINE:
        figures = f"{figures}  {taken}"
    else:
        rest.insert(0, taken)
    room = min(terminal.width // 3, terminal.width - len(figures) - LEAST_BAR)
    top = Table.grid(padding=(0, 1), expand=True)
    top.add_column(no_wrap=True)
    top.add_column(ratio=1)
    top.add_column(justify="right", no_wrap=True)
    top.add_row(
        text(fit(as_shown(title, terminal.encoding), max(room, 1))),
        ProgressBar(total=max(shown.total, 1), completed=shown.finished),
        text(figures),
    )
    return Group(top, *map(text, rest))
