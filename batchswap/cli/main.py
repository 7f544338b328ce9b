"""The root command. It turns every error into a sentence and an exit code."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from batchswap import __version__
from batchswap.cli import config
from batchswap.cli.command import Command
from batchswap.cli.command_options import COMMANDS
from batchswap.cli.console import Console, make_printable, print_json, safe_lines
from batchswap.cli.mount_watch import MountWatch
from batchswap.cli.user_files import ARGUMENTS, SECRET, without
from batchswap.errors import BatchswapError, Exit, UsageError
from batchswap.operations.user_files import changeable, exposed

BUG = "this is a bug in batchswap; nothing that was paid for is lost; add -v for details"
_LESS = "or lower --workers, --downloads and --ahead"
_MEMORY = f"there is not enough memory: free some, raise the limit (ulimit -v, or the container's), {_LESS}"
_THREADS = f"no more threads or processes can be started: raise the limit (ulimit -u, or the container's), {_LESS}"
_BY_NUMBER = {
    errno.EMFILE: f"too many files are open in this process: raise the limit (ulimit -n 1024), {_LESS}",
    errno.ENFILE: "too many files are open on this machine: end other programs, or raise sysctl fs.file-max",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _THREADS,
    errno.EROFS: "the file system is read-only: choose another folder (--db, --out, XDG_STATE_HOME, TMPDIR)",
}

COMPLETE = "_BATCHSWAP_COMPLETE"
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Root(click.Group):
    """All commands, in the order of a working day."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run a command and exit with its exit code, or complete a command line for a shell."""
        if instruction := os.environ.get(COMPLETE):
            from batchswap.cli.completion.shells import answer

            sys.exit(answer(self, SETTINGS, COMPLETE, instruction))
        arguments = list(sys.argv[1:] if args is None else args)
        console = Console()
        console.expect(arguments)
        make_printable()
        watch = MountWatch(console.warn)
        watch.start()
        try:
            code = self._enter(arguments, console)
        except BaseException as error:  # noqa: BLE001 - any error is shown as a sentence
            code = _tell(error, console)
        for tell in console.at_exit:
            with suppress(Exception):  # the exit code is fixed
                tell(int(code))
        console.end()
        if watch.end():  # otherwise Python would wait for threads that no signal can interrupt
            os._exit(int(code))
        sys.exit(int(code))

    def _enter(self, arguments: list[str], console: Console) -> int:
        if any(map(config.no_text, arguments)):
            shown = filter(None, map(config.no_text, without(arguments, SECRET)))
            raise UsageError(next(shown, f"the value of one of --{', --'.join(SECRET)} is not UTF-8"))
        if not is_here():
            raise UsageError("the working directory was deleted: change to one that exists")
        values, places = config.default_map(self)
        for path in {places[name] for name in places if places[name] != Path(config.FILE)}:
            if words := exposed_file(path, places):
                console.warn("key-exposed", words)
        with self.make_context("batchswap", list(arguments), default_map=values, obj=console, **SETTINGS) as ctx:
            ctx.meta[ARGUMENTS] = arguments
            config.remember_places(ctx, places)
            found = self.invoke(ctx)
        return found if isinstance(found, int) else Exit.DONE


@click.group(
    cls=Root,
    no_args_is_help=True,
    epilog="The API key is read from CRUN_API_KEY or ~/.crun/.env; --provider local needs none."
    " `batchswap COMMAND --help` lists the options of a command. An option can also be set in the environment"
    " (--in-flight as BATCHSWAP_IN_FLIGHT), in batchswap.yaml in the working directory or in"
    " ~/.config/batchswap/config.yaml (in-flight: 40).",
)
@click.version_option(__version__, "--version", prog_name="batchswap", message="%(prog)s %(version)s")
def root() -> None:
    """Swap faces in many videos and pictures with the CRUN API. Nothing is lost, and nothing is paid for twice.

    List the swaps in a manifest, such as this spring.csv, and run it:

    \b
      id,video,face
      intro,https://cdn.example.com/intro.mp4,https://cdn.example.com/anna.jpg
      outro,clips/outro.mp4,faces/ben.png

    \b
      batchswap check spring.csv     find mistakes
      batchswap plan spring.csv      see what a run would do and cost
      batchswap run spring.csv       run it; the same command resumes it
      batchswap status               see what is done and what needs you
    """


for each in COMMANDS:
    root.add_command(Command(each))


def judge(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error; no message for a regular exit."""
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
            return judge(error.exceptions[0])
        case _ if words := _limit_reached(error):
            return Exit.UNEXPECTED, words
        case OSError() if error.strerror:
            return Exit.UNEXPECTED, f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case _:
            return Exit.UNEXPECTED, f"{type(error).__name__}: {error}; {BUG}"


def _limit_reached(error: BaseException) -> str:
    """Return the limit of this machine that was reached, and what helps; "" for other errors."""
    match error:
        case MemoryError():
            return _MEMORY
        case RuntimeError() if "start new thread" in str(error):
            return _THREADS
        case FileNotFoundError() if "temporary directory" in str(error):
            return "there is no folder for temporary files: set TMPDIR to a writable folder"
        case OSError() if error.errno in _BY_NUMBER:
            place = f"{error.filename}: " if error.filename else ""
            return f"{place}{_BY_NUMBER[error.errno]}"
        case UnicodeEncodeError():
            return f"a file name has characters that {error.encoding} lacks: use a UTF-8 locale (LC_ALL=C.UTF-8)"
        case ImportError():
            return f"a part of the installation cannot be loaded ({error}): install batchswap again"
    return ""


def _tell(error: BaseException, console: Console) -> int:
    """Show the error on stderr and, with --json, as a document on stdout. Return the exit code."""
    code, words = judge(error)
    if isinstance(error, click.UsageError) and not console.is_json:
        error.show()  # with the usage of its command
    elif words:
        console.fail(words)
    if words and console.owes_document:
        reason = safe_lines(words)
        print_json(
            {"exit_code": code, "reason": reason, **({"warnings": console.unwritten} if console.unwritten else {})}
        )
    if code == Exit.UNEXPECTED and console.is_verbose:
        importlib.import_module("traceback").print_exception(error)
    return code


def exposed_file(path: Path, places: dict[str, Path]) -> str:
    """Return a warning if other users can change a file of options, or read the addresses in it; "" if not."""
    has_secrets = any(places.get(name.replace("-", "_")) == path for name in SECRET)
    return exposed(path, "the addresses") if has_secrets else changeable(path)


def is_here() -> bool:
    """Return whether the working directory still exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def keep_own_access() -> None:
    """Ignore a umask that takes access from the user: no file of a run could be opened again."""
    os.umask(os.umask(0o077) & 0o077)


def hold_standard_streams() -> None:
    """Open closed standard streams on /dev/null. Otherwise, the next opened file would become a standard stream."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
