"""Complete options and arguments with names in the ledger that the command line names, and with files."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchswap.states import State

if TYPE_CHECKING:
    import sqlite3

    from click.shell_completion import CompletionItem

Query = Callable[["sqlite3.Connection", str], Iterator[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def batches(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """Complete the name of a batch."""
    from batchswap.ledger.file import prefixes

    return _named(ctx, prefixes.batches, typed)


def releases(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """Complete the reference of a release."""
    from batchswap.ledger.file import prefixes

    return _named(ctx, prefixes.releases, typed)


def codes(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """Complete the reason code of failed tasks."""
    from batchswap.ledger.file import prefixes

    return _named(ctx, prefixes.codes, typed)


def keys(*states: State) -> Complete:
    """Return what completes the key of a task in one of these states. A command's --state has precedence."""

    def complete(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        from batchswap.ledger.file import prefixes

        chosen = ctx.params.get("state")
        wanted = (State(chosen),) if isinstance(chosen, str) else states
        given = ctx.params.get(str(parameter.name)) or ()

        def query(db: "sqlite3.Connection", text: str) -> Iterator[str]:
            return prefixes.keys(db, text, wanted)

        return [each for each in _named(ctx, query, typed) if each not in given]

    return complete


def files(_: click.Context, __: click.Parameter, typed: str) -> "list[CompletionItem[str]]":
    """Let the shell complete the name of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="file")]


def results(ctx: click.Context, parameter: click.Parameter, typed: str) -> "list[str] | list[CompletionItem[str]]":
    """Complete the key of a done task, or else the name of a file."""
    return keys(State.DONE)(ctx, parameter, typed) or files(ctx, parameter, typed)


def _named(ctx: click.Context, query: Query, typed: str) -> list[str]:
    """Return what the query finds in the ledger until its time is over. Errors yield nothing and are not shown."""
    from batchswap.ledger.file import prefixes

    found: list[str] = []
    with suppress(Exception):
        # The shell has not replaced these yet.
        path = Path(os.path.expandvars(str(ctx.params["db"] or ""))).expanduser()
        with prefixes.opened(path) as db:
            for name in query(db, typed):
                found.append(name)  # noqa: PERF402 - kept when an error ends the query
    return [*dict.fromkeys(found)]
