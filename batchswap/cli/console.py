"""The output of commands: results on stdout; progress, log lines and errors on stderr, as text or JSON lines.

Heavy imports are inside functions, because they would slow down `--help`.
"""

import codecs
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, TextIO

_FOR_NOW = (errno.ENOSPC, errno.EDQUOT)

LOOK_ALIKE = "batchswap-look-alike"
"""An error handler that replaces characters which the encoding of a stream lacks."""
_PRINTED = "batchswap-printed"
"""A -X option with the encoding of the standard streams, set by `use_utf8`."""
_ALIKE = {"…": "~", "·": "|", "×": "x", "→": ">", "–": "-"}


class Console:
    """Writes to stderr. Warnings, errors and the last line are shown at every verbosity.

    Warnings and errors that could not be written are kept, and `end` tries again.
    """

    def __init__(self) -> None:
        self.is_quiet = self.is_verbose = self.is_json = False
        self.owes_document = False
        """True with --json: then an error is a document, too."""
        self.is_dated = not _is_terminal(sys.stderr)
        self._print: Callable[[str], None] = _print_line
        self.unwritten: list[str] = []
        """Warnings and errors that could not be written to stderr."""
        self.at_exit: list[Callable[[int], None]] = []
        """Called with the exit code when the command has ended, also if it failed."""
        self._is_cut_off = False

    def expect(self, arguments: Sequence[str]) -> None:
        """Find the output format on the command line before it is parsed, because parsing may fail."""
        words = [*takewhile("--".__ne__, arguments)]
        self.owes_document = "--json" in words
        self.is_json = "--log-format=json" in words or ("--log-format", "json") in pairwise(words)

    def through(self, print_line: Callable[[str], None] | None) -> None:
        """Write lines through a live display, or directly for None."""
        self._print = print_line or _print_line

    @property
    def is_live(self) -> bool:
        """Whether a live display may be drawn on stderr."""
        return _is_terminal(sys.stderr) and not self.is_json and not self.is_quiet

    def show_logs(self) -> None:
        """Show log records: reports of the run unless --quiet, warnings always, all others with --verbose.

        The handler leaves records out, not the logger of reports, because messages about a run need all reports.
        """
        import logging

        from batchswap.events import RUN, RecordHandler

        package = logging.getLogger("batchswap")
        package.handlers = [RecordHandler(self._show)]
        package.handlers[0].setLevel(logging.WARNING if self.is_quiet else logging.NOTSET)
        is_verbose = self.is_verbose and not self.is_quiet
        package.setLevel(logging.DEBUG if is_verbose else logging.WARNING)
        logging.getLogger(RUN).setLevel(logging.DEBUG if is_verbose else logging.INFO)

    def warn(self, event: str, text: str) -> None:
        """Write a warning without `logging`, which may not be loaded."""
        self._show("warning", event, text, {})

    def conclude(self, text: str, *, is_news: bool = True, **fields: Any) -> None:
        """Write the last line; with --quiet, only if it is news."""
        if self.is_quiet and not is_news:
            return
        self._show("info", "finished", text, fields, dated=False)

    def fail(self, text: str) -> None:
        """Write an error, which may have several lines."""
        for line in text.splitlines():
            self._show("error", "error", f"batchswap: {line}", {}, dated=False)

    def _show(self, level: str, event: str, text: str, fields: dict[str, Any], *, dated: bool = True) -> None:
        from batchswap.report.formatting import safe

        line = safe(text)
        if self.is_json:
            now = time.time()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
            message = line.removeprefix("batchswap: ")
            line = json.dumps(
                {"time": stamp, "level": level, "event": event, "message": message, **fields}, default=str
            )
        elif dated and self.is_dated:
            line = time.strftime("%Y-%m-%d %H:%M:%S ") + line
        if not self._write(line) and level in ("warning", "error"):
            self.unwritten.append(line)

    def _write(self, line: str) -> bool:
        """Return whether the line was written. A full disk or a closed terminal must not end a run."""
        if self._is_cut_off:
            return False
        try:
            self._print(line)
        except OSError as error:
            if error.errno not in _FOR_NOW:
                self.fall_silent()
            return False
        except ValueError:  # stderr was closed
            return False
        return True

    def end(self) -> None:
        """Write the warnings and errors that were kept: to stderr, else to stdout unless it has a JSON document.

        Discard the buffers of streams that cannot be written.
        """
        self.unwritten = [line for line in self.unwritten if not self._write(line)]
        if self.unwritten and not self.owes_document and sys.stdout is not None:
            with suppress(OSError, ValueError):
                sys.stdout.write("\n".join([*self.unwritten, ""]))
                sys.stdout.flush()
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):
            self.fall_silent()
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:  # already reported
            _discard(sys.stdout)

    def fall_silent(self) -> None:
        """Let stderr lead nowhere from now on."""
        self._is_cut_off = True
        with suppress(OSError, ValueError):
            _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let a stream lead nowhere. Otherwise its buffer would be written again at exit, and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _print_line(line: str) -> None:
    if sys.stderr is None:
        raise ValueError("stderr was closed from the start")
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def safe_lines(text: str) -> str:
    """Return the text of an error for a document, without API keys and URL queries, as it is shown on stderr."""
    from batchswap.report.formatting import safe

    return "\n".join(map(safe, text.splitlines()))


def print_json(document: Any) -> None:
    """Print one JSON document, in ASCII, so that every terminal can show it."""
    import msgspec

    print_lines([json.dumps(msgspec.to_builtins(document), indent=2)])


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are produced. A closed pipe (`| head`) is no error."""
    if sys.stdout is None:
        return
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise


def columns() -> int | None:
    """Return the width of the terminal; None if stdout is not a terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_ALIKE.get(c) or c.encode("ascii", "backslashreplace").decode() for c in letters), error.end


codecs.register_error(LOOK_ALIKE, _replaced)


def use_utf8() -> None:
    """Restart Python in UTF-8 mode unless file names are UTF-8 already.

    A row then has the same file name in cron as in a terminal. Python is not restarted if an argument, the working
    directory or the home directory is not valid UTF-8.
    """
    if sys.flags.utf8_mode or not sys.executable or codecs.lookup(sys.getfilesystemencoding()).name == "utf-8":
        return
    with suppress(OSError, UnicodeDecodeError):
        names = [*map(os.fsencode, sys.orig_argv), os.fsencode(Path.cwd()), os.environb.get(b"HOME", b"")]
        b"".join(names).decode()
        stream = sys.stderr or sys.stdout
        printed = [] if stream is None else ["-X", f"{_PRINTED}={stream.encoding}"]
        arguments = [sys.executable, "-X", "utf8", *printed, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606 - this very program


def make_printable() -> None:
    """Let the standard streams replace characters that they cannot encode."""
    encoding = sys._xoptions.get(_PRINTED)  # noqa: SLF001 - a documented attribute
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=encoding if isinstance(encoding, str) else None, errors=LOOK_ALIKE)


def as_shown(text: str, encoding: str) -> str:
    """Return the text as a stream with this encoding shows it, for alignment."""
    return text.encode(encoding, LOOK_ALIKE).decode(encoding)
