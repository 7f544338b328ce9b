"""The group of commands, and the outermost edge: every way to end becomes an exit code and a sentence."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from batchswap import __version__
from batchswap.cli import config, system_limits
from batchswap.cli.commands.backup import backup
from batchswap.cli.commands.check import check
from batchswap.cli.commands.doctor import doctor
from batchswap.cli.commands.faces import faces
from batchswap.cli.commands.plan import plan
from batchswap.cli.commands.rebuild import adopt, rebuild
from batchswap.cli.commands.retry import cancel, resolve, retry
from batchswap.cli.commands.run import ARGUMENTS, run
from batchswap.cli.commands.serve import balance, serve
from batchswap.cli.commands.status import show, status, tasks
from batchswap.cli.console import Voice
from batchswap.cli.letters import make_printable
from batchswap.errors import BatchswapError, Exit, UsageError
from batchswap.operations.user_files import changeable

BUG = "this is a bug in batchswap: nothing that was paid for is lost; run it with -v for details"


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Root(click.Group):
    """All commands, in the order of a working day."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run a command and leave with its exit code."""
        arguments = list(sys.argv[1:] if args is None else args)
        voice = Voice()
        voice.expect(arguments)
        make_printable()
        try:
            code = self._enter(arguments, voice)
        except BaseException as error:  # noqa: BLE001 - the outermost edge: nothing goes further but as words
            code = _tell(error, voice)
        voice.end()
        sys.exit(int(code))

    def _enter(self, arguments: list[str], voice: Voice) -> int:
        if wrong := next(filter(None, map(config.no_text, arguments)), ""):
            raise UsageError(wrong)
        if not is_here():
            raise UsageError("the working directory was deleted: change to one that exists")
        values, places = config.default_map(self)
        for path in {places[name] for name in places if places[name] != Path(config.FILE)}:
            if words := changeable(path):
                voice.warn(words)
        with self.make_context("batchswap", list(arguments), default_map=values, obj=voice, **SETTINGS) as ctx:
            ctx.meta[ARGUMENTS] = arguments
            config.remember_places(ctx, places)
            found = self.invoke(ctx)
        return found if isinstance(found, int) else Exit.DONE


@click.group(
    cls=Root,
    no_args_is_help=True,
    epilog="Every option is also an environment variable (--in-flight: BATCHSWAP_IN_FLIGHT) and a key of"
    " batchswap.yaml here, or of ~/.config/batchswap/config.yaml (in-flight: 40).",
)
@click.version_option(__version__, "--version", prog_name="batchswap", message="%(prog)s %(version)s")
def root() -> None:
    """Batch face swaps against a slow, rate-limited, paid API: nothing lost, nothing paid twice."""


for each in (run, check, plan, status, tasks, show, retry, resolve, cancel, balance, faces, serve, doctor):
    root.add_command(each)
for each in (backup, adopt, rebuild):
    root.add_command(each)


def _judge(error: BaseException) -> tuple[int, str]:
    """Exit code and words of what went wrong; no words where nothing did."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code, ""
        case click.ClickException():
            return Exit.USAGE, error.format_message()
        case KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED, "interrupted"
        case BatchswapError():
            return error.exit, str(error)
        case BaseExceptionGroup() if len(error.exceptions) == 1:
            return _judge(error.exceptions[0])
        case _ if words := system_limits.words_of(error):
            return Exit.UNEXPECTED, words
        case OSError() if error.strerror:
            return Exit.UNEXPECTED, f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case _:
            return Exit.UNEXPECTED, f"{type(error).__name__}: {error}; {BUG}"


def _tell(error: BaseException, voice: Voice) -> int:
    """The exit code; its words on stderr, and on stdout where a JSON document was asked for."""
    code, words = _judge(error)
    if isinstance(error, click.UsageError) and not voice.is_json:
        error.show()  # with the usage of its command
    elif words:
        voice.fail(words)
    if words and voice.owes_document:
        importlib.import_module("batchswap.cli.printing").print_json(
            {"exit_code": code, "reason": words, **({"warnings": voice.unheard} if voice.unheard else {})}
        )
    if code == Exit.UNEXPECTED and voice.is_verbose:
        importlib.import_module("traceback").print_exception(error)
    return code


def is_here() -> bool:
    """Whether the working directory still exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def hold_standard_streams() -> None:
    """A standard stream that is closed is opened on nothing: or the next file would take its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
