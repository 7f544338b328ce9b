"""What a command says while it works: on stderr, as text or as one JSON object a line. stdout is for results only."""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise, takewhile
from typing import Any

_FOR_NOW = (errno.ENOSPC, errno.EDQUOT)


class Voice:
    """`say` is dropped when quiet; `warn`, `conclude` and `fail` are always shown.

    What `warn` and `fail` cannot write to stderr is kept, and written by `end` wherever that is possible.
    """

    def __init__(self) -> None:
        self.is_quiet = self.is_verbose = self.is_json = False
        self.owes_document = False
        """Whether --json was asked for: then an error is a document, too."""
        self.is_dated = not _is_terminal(sys.stderr)
        self._print: Callable[[str], None] = _print_line
        self.unheard: list[str] = []
        """Urgent lines that stderr did not take."""
        self._is_cut_off = False

    def expect(self, arguments: Sequence[str]) -> None:
        """What the command line asks for, as far as it can be seen before it is read: it may have errors."""
        words = [*takewhile("--".__ne__, arguments)]
        self.owes_document = "--json" in words
        self.is_json = "--log-format=json" in words or ("--log-format", "json") in pairwise(words)

    def tune(self, *, quiet: bool, log_format: str) -> None:
        """As the options of the command want it."""
        self.is_quiet, self.is_json = quiet, log_format == "json"

    def through(self, print_line: Callable[[str], None] | None) -> None:
        """Lines go through a live display while there is one."""
        self._print = print_line or _print_line

    @property
    def is_live(self) -> bool:
        """Whether a display may draw on stderr."""
        return _is_terminal(sys.stderr) and not self.is_json and not self.is_quiet

    def say(self, text: str, level: str = "info", **values: Any) -> None:
        """One line about what goes on. `values` go along in JSON."""
        if not self.is_quiet:
            self._speak(text, level, values, dated=self.is_dated)

    def warn(self, text: str) -> None:
        """Show a line about money, or about something that may be lost: at every verbosity."""
        self._speak(text, "warning", {}, dated=self.is_dated, urgent=True)

    def conclude(self, text: str, **values: Any) -> None:
        """The last line."""
        self._speak(text, "info", values, dated=False)

    def fail(self, text: str) -> None:
        """An error; several lines where there are several."""
        for line in text.splitlines():
            self._speak(f"batchswap: {line}", "error", {}, dated=False, urgent=True)

    def _speak(self, text: str, level: str, values: dict[str, Any], *, dated: bool, urgent: bool = False) -> None:
        from batchswap.report.formatting import safe  # not before there is something to say

        line = safe(text)
        if self.is_json:
            now = time.time()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
            line = json.dumps({"time": stamp, "level": level, "event": line.removeprefix("batchswap: "), **values})
        elif dated:
            line = time.strftime("%Y-%m-%d %H:%M:%S ") + line
        if not self._write(line) and urgent:
            self.unheard.append(line)

    def _write(self, line: str) -> bool:
        """Whether anyone could hear it: a log that is full, or a terminal that has gone, must not end a run."""
        if self._is_cut_off:
            return False
        try:
            self._print(line)
        except OSError as error:
            if error.errno not in _FOR_NOW:
                self.fall_silent()
            return False
        except ValueError:  # closed meanwhile
            return False
        return True

    def end(self) -> None:
        """Write to stdout what stderr still does not take, unless a document is there, which has it.

        What is left in stderr's buffer would fail once more at the exit, and change the exit code.
        """
        self.unheard = [line for line in self.unheard if not self._write(line)]
        if self.unheard and not self.owes_document and sys.stdout is not None:
            with suppress(OSError, ValueError):
                sys.stdout.write("\n".join([*self.unheard, ""]))
                sys.stdout.flush()
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):
            self.fall_silent()

    def fall_silent(self) -> None:
        """From now on stderr leads nowhere."""
        self._is_cut_off = True
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _print_line(line: str) -> None:
    if sys.stderr is None:
        raise ValueError("stderr was closed from the start")
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
