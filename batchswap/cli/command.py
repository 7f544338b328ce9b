"""A command: its options, each declared once, and its module in `cli/commands`, which is loaded when it is called."""

import importlib
import re
import sys
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar

import click

from batchswap.cli.config import Option
from batchswap.cli.console import Console

HEADINGS = ("Options", "Where", "How fast", "How much", "How long", "Which rows", "Quality", "Unattended", "Output")
"""The headings of `--help`, in this order. "Options": those of one command alone."""
SHORT = 10
"""Number of options that are listed under one heading."""
_WIDEST = 27
"""Columns of an option next to its help; the help of a longer one begins on the next line."""
_NO_BREAKS = {ord(" "): "\N{NO-BREAK SPACE}", ord("-"): "\N{NON-BREAKING HYPHEN}"}
_BREAKS = {ord(there): chr(here) for here, there in _NO_BREAKS.items()}


class Declaration:
    """An option or argument that does not know the name of its field yet."""

    def __init__(self, kind: type[click.Parameter], spellings: tuple[str, ...], attributes: dict[str, Any]) -> None:
        self._kind, self._spellings, self._attributes = kind, spellings, attributes

    def named(self, field: str, heading: str) -> click.Parameter:
        """Return the parameter that fills the field. An option without a heading of its own gets `heading`."""
        if self._kind is click.Argument:
            return self._kind([field], **self._attributes)
        spellings = self._spellings or ("--" + field.replace("_", "-"),)
        return self._kind([*spellings, field], **{"heading": heading, **self._attributes})


def option(*spellings: str, **attributes: Any) -> Any:
    """Declare an option, by default with the name of its field. Its help shows the default value."""
    return Declaration(Option, spellings, {"show_default": True, "default": None, **attributes})


def flag(*spellings: str, **attributes: Any) -> Any:
    """Declare a flag that is off by default."""
    return option(*spellings, is_flag=True, **{"show_default": False, "default": False, **attributes})


def argument(**attributes: Any) -> Any:
    """Declare a positional argument."""
    return Declaration(click.Argument, (), attributes)


class CommandOptions:
    """The values of a command's options. Each field is declared with its option; instances are frozen.

    The docstring of a class with a `command` is the text of `batchswap COMMAND --help`, where the options are listed
    under the `heading` of their class.
    """

    command: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    package: ClassVar[str] = "batchswap.cli.commands"
    """Where the module of the command is."""
    heading: ClassVar[str]

    def __init__(self, **values: Any) -> None:
        if missing := set(self.parameters()) ^ set(values):
            raise TypeError(f"{type(self).__name__}: {', '.join(sorted(missing))}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    @classmethod
    def parameters(cls) -> dict[str, click.Parameter]:
        """Return the parameters by field: those of the base classes, then its own, in order of declaration."""
        found: dict[str, click.Parameter] = {}
        for base in cls.__bases__:
            if issubclass(base, CommandOptions):
                found |= base.parameters()
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Declaration)}
        return found | {name: value.named(name, vars(cls).get("heading", "Options")) for name, value in own.items()}


class Command(click.Command):
    """A command with -v. Its function returns the exit code."""

    def __init__(self, options: type[CommandOptions]) -> None:
        verbose = Option(["-v", "--verbose"], is_flag=True, help="show details, and the traceback of a bug")
        verbose.expose_value, verbose.callback = False, _be_verbose
        super().__init__(
            options.command,
            params=[*options.parameters().values(), verbose],
            help=options.__doc__,
            short_help=options.summary,
            callback=self._call,
        )
        self._options = options

    def _call(self, **values: Any) -> Any:
        """Import the module of the command, and call its function of the same name."""
        console = click.get_current_context().find_object(Console) or Console()
        console.is_quiet = bool(values.get("quiet"))
        function = getattr(importlib.import_module(f"{self._options.package}.{self.name}"), str(self.name))
        if "logging" in sys.modules:  # otherwise the command logs nothing
            console.show_logs()
        return function(console, self._options(**values))

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        found = super().get_help_option(ctx)
        if found is not None:
            found.help = "show this help"
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options under their headings, in one alignment. A short list has one heading."""
        listed = [(each, each.get_help_record(ctx)) for each in self.get_params(ctx) if isinstance(each, click.Option)]
        rows = [(getattr(each, "heading", HEADINGS[-1]), *row) for each, row in listed if row is not None]
        rows.sort(key=lambda row: HEADINGS.index(row[0]))
        width = min(max(len(spelled) for _, spelled, _ in rows), _WIDEST)
        for heading, some in groupby(rows, lambda row: row[0] if len(rows) > SHORT else HEADINGS[0]):
            with formatter.section(heading):
                formatter.write_dl([(spelled.ljust(width), _unbroken(words)) for _, spelled, words in some], width)
        formatter.buffer[:] = [text.translate(_BREAKS) for text in formatter.buffer]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            self._find_form_of_errors(ctx)
            raise

    def _find_form_of_errors(self, ctx: click.Context) -> None:
        """Apply --json and --log-format from variables and files, for the error that is shown next."""
        for each in self.params:
            if each.is_eager and ctx.get_parameter_source(str(each.name)) is None:
                with suppress(click.UsageError):
                    each.handle_parse_result(ctx, {}, [])


def _unbroken(help_: str) -> str:
    """Return the help of an option such that no line ends inside of its default."""
    return re.sub(r"\[default: .*\]", lambda found: found[0].translate(_NO_BREAKS), help_)


def _be_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if (console := ctx.find_object(Console)) is not None:
        console.is_verbose = value


def owe_document(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """Note that --json was given, so that an error is a document, too."""
    if (console := ctx.find_object(Console)) is not None:
        console.owes_document |= value
    return value


def log_as(ctx: click.Context, _: click.Parameter, value: str) -> str:
    """Note the log format before anything is logged."""
    if (console := ctx.find_object(Console)) is not None:
        console.is_json |= value == "json"
    return value
