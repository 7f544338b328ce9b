"""The options, each defined once; commands take the groups they need. Help: one line, no period, the default shown."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from batchswap.cli import option_types as kinds
from batchswap.cli.config import Option
from batchswap.cli.console import Voice

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """One option, with its default shown."""
    attributes.setdefault("show_default", True)
    return click.option(*names, cls=Option, **attributes)


def flag(*names: str, **attributes: Any) -> Callable[[F], F]:
    return option(*names, is_flag=True, show_default=False, **attributes)


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in this order."""

    def decorate(function: F) -> F:
        for each in reversed(decorators):
            function = each(function)
        return function

    return decorate


def _owe_document(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    voice = ctx.find_object(Voice)
    if voice is not None:
        voice.owes_document |= value
    return value


def _log_as(ctx: click.Context, _: click.Parameter, value: str) -> str:
    voice = ctx.find_object(Voice)
    if voice is not None:
        voice.is_json |= value == "json"
    return value


DB = option("--db", type=FILE, default=Path("batchswap.db"), metavar="FILE", help="the ledger")
OUT = option("--out", type=FOLDER, default=Path("results"), metavar="DIR", help="where results go")
RATE = option(
    "--rate", type=kinds.RATE, default=None, help="requests of all kinds per window  [default: 20/10s; local: none]"
)
BASE_URL = option(
    "--base-url",
    metavar="URL",
    default="https://api.crun.ai",
    also=["CRUN_BASE_URL"],
    help="of the API; also CRUN_BASE_URL",
)
WHERE = together(
    option("--provider", type=click.Choice(["crun", "local"]), default="crun", help="where tasks go"), BASE_URL
)
PROVIDER = together(WHERE, RATE)
MANIFESTS = click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
READING = together(
    option(
        "--format",
        type=click.Choice(["csv", "yaml", "json", "jsonl"]),
        default=None,
        help="of the manifests; else by name",
    ),
    option("--batch", metavar="NAME", default=None, help="of the batch; else the manifest's own name"),
    option("--name-template", default="{batch}/{key}{ext}", metavar="TEMPLATE", help="of outputs, below --out"),
    flag("--require-consent", help="rows without consent are an error"),
)
SELECTING = together(
    option("--limit", type=kinds.COUNT, default=None, metavar="N", help="only the first N rows (of those that match)"),
    option(
        "--filter",
        default="",
        show_default=False,
        metavar="TEXT",
        help="only rows with TEXT in key, target, face or output",
    ),
    option(
        "--tag", type=kinds.TAG, multiple=True, metavar="TAG", help="only rows with this tag; several: with all of them"
    ),
)
PLACES = together(
    option("--in-flight", type=kinds.POSITIVE, default=None, metavar="N",
           help="tasks at the API at once  [default: 100; local: 2 per core]"),
    option("--workers", type=kinds.POSITIVE, default=16, metavar="N", help="open HTTP calls at once"),
    option("--downloads", type=kinds.POSITIVE, default=4, metavar="N", help="downloads at once"),
    option("--ahead", type=kinds.POSITIVE, default=16, metavar="N", help="tasks made ready before their turn"),
)  # fmt: skip
TRYING = together(
    option("--retries", type=kinds.COUNT, default=3, metavar="N", help="further tries of a poll, download or upload"),
    option("--paid-attempts", type=kinds.POSITIVE, default=1, metavar="N", help="attempts that a task may cost"),
    option("--same-refusals", type=kinds.POSITIVE, default=20, metavar="N", help="refused alike in a row: stop"),
)
MONEY = together(
    option("--budget", type=kinds.CREDITS, default=None, help="spent + reserved of this run stay within it"),
    option("--budget-per-day", type=kinds.CREDITS, default=None, help="the same for a calendar day, over all runs"),
)
TIMES = together(
    option("--until", type=kinds.TIME_OF_DAY, default=None, help="stop in time, collect what runs, exit 7"),
    option("--max-duration", type=kinds.DURATION, default=None, help="the same, so long after the start (6h, 90m)"),
    option("--task-timeout", type=kinds.DURATION, default="6h", help="how long to wait for one task"),
    option("--patience", type=kinds.DURATION, default="2h", help="how long the API may stay unavailable"),
    option("--upload-ttl", type=kinds.DURATION, default="24h", help="how long an upload is used again"),
)
MAX_UPLOAD = option("--max-upload", type=kinds.SIZE, default="512MiB", help="input files larger than this are refused")
SPACE = option("--min-free", type=kinds.SIZE, default="1GB", help="disk space below which nothing is submitted")
CALLBACKS = together(
    option("--callback-url", metavar="URL", default=None, help="where the API reaches the callback receiver"),
    option("--callback-listen", type=kinds.ADDRESS, default=None, help="where the callback receiver listens"),
)
DUPLICATES = option(
    "--duplicates",
    type=click.Choice(["refuse", "reuse", "pay"]),
    default="refuse",
    help="rows whose inputs another batch of the ledger has done or is doing",
)
WORKING = together(
    DB, OUT, PROVIDER, PLACES, TRYING, MONEY, TIMES, MAX_UPLOAD, SPACE, CALLBACKS, READING, SELECTING, DUPLICATES
)
"""What `run` and `plan` share."""
BUSY = option(
    "--if-running",
    type=click.Choice(["fail", "wait", "skip"]),
    default="fail",
    help="when another run holds the ledger",
)
BACKUP = option(
    "--backup/--no-backup",
    default=True,
    show_default=False,
    help="copy the ledger to FILE.bak when the run ends: about 1 GB for a million rows, at the speed of the disk",
)
JSON = flag("--json", "as_json", is_eager=True, callback=_owe_document, help="one JSON document on stdout")
TALKING = together(
    flag("-q", "--quiet", help="only errors and the last line"),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        is_eager=True,
        callback=_log_as,
        help="of what goes to stderr",
    ),
    flag("--no-progress", help="no live display and no line a minute"),
)


class Command(click.Command):
    """A command with -v, whose function returns its exit code."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        verbose = Option(["-v", "--verbose"], is_flag=True, help="details, and a traceback for a bug")
        verbose.expose_value, verbose.callback = False, _be_verbose
        self.params.append(verbose)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            self._find_how_to_speak(ctx)
            raise

    def _find_how_to_speak(self, ctx: click.Context) -> None:
        """Where the command line could not be read, variables and files still say in which form its error is told."""
        for each in self.params:
            if each.is_eager and ctx.get_parameter_source(each.name) is None:
                with suppress(click.UsageError):
                    each.handle_parse_result(ctx, {}, [])


def _be_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    voice = ctx.find_object(Voice)
    if voice is not None:
        voice.is_verbose = value
