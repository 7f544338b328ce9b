"""`batchswap guide`: the documentation, in the terminal."""

import io
import re
import sys
from typing import ClassVar

import click

from batchswap.cli.command_options import GuideOptions
from batchswap.cli.console import Console, columns, print_lines
from batchswap.cli.topics import lines_of, topics
from batchswap.errors import Exit, UsageError

FIRST = "guide"
"""The topic that is shown when none is named."""
WIDEST = 110
_LINK = re.compile(r"\[([^\]]+)\]\(([\w-]+)\.md(?:#[\w-]+)?\)")


def guide(_: Console, options: GuideOptions) -> int:
    """Show the topic; without one, list the topics and show the guide."""
    pages = topics()
    if options.topic is not None and options.topic not in pages:
        listed = "\n".join(lines_of(pages))
        raise UsageError(f"{options.topic}: there is no such topic; `batchswap guide TOPIC` shows one of\n{listed}")
    text = pages[options.topic or FIRST]
    if options.topic is None:
        text = "\n".join(["Topics of `batchswap guide TOPIC`:", "", *lines_of(pages), "", text])
    if (width := columns()) is None or sys.stdin is None or not sys.stdin.isatty():
        print_lines(text.splitlines())
    else:
        click.echo_via_pager(rendered(text, min(width, WIDEST)))
    return Exit.DONE


def rendered(text: str, width: int) -> str:
    """Return the Markdown as a terminal shows it: a link to another page is the command that shows it."""
    from rich.console import Console as Terminal
    from rich.console import ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class FoldedTable(TableElement):
        """A table that breaks long words, where rich would cut them."""

        def __rich_console__(self, console: Terminal, options: ConsoleOptions) -> RenderResult:
            for each in super().__rich_console__(console, options):
                if isinstance(each, Table):
                    for column in each.columns:
                        column.overflow = "fold"
                yield each

    class LinkedMarkdown(Markdown):
        elements: ClassVar = {**Markdown.elements, "table_open": FoldedTable}

    terminal = Terminal(file=io.StringIO(), width=width, force_terminal=True, legacy_windows=False)
    terminal.print(LinkedMarkdown(_LINK.sub(_as_command, text), hyperlinks=False, code_theme="ansi_dark"))
    written = terminal.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def _as_command(link: re.Match[str]) -> str:
    words, topic = link.groups()
    command = f"`batchswap guide {topic}`"
    return command if words == f"{topic}.md" else f"{words} ({command})"
