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
    """`say` is dropped when quiet; `conclude` and `fail` are always heard."""

    def __init__(self) -> None:
        self.is_quiet = self.is_verbose = self.is_json = False
        self.owes_document = False
        """Whether --json was asked for: then an error is a document, too."""
        self.is_dated = not _is_terminal(sys.stderr)
        self._print: Callable[[str], None] = _print_line

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

    def conclude(self, text: str, **values: Any) -> None:
        """The last line."""
        self._speak(text, "info", values, dated=False)

    def fail(self, text: str) -> None:
        """An error; several lines where there are several."""
        for line in text.splitlines():
            self._speak(f"batchswap: {line}", "error", {}, dated=False)

    def _speak(self, text: str, level: str, values: dict[str, Any], *, dated: bool) -> None:
        from batchswap.report.words import safe  # not before there is something to say

        line = safe(text)
        if self.is_json:
            now = time.time()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
            self._write(
                json.dumps({"time": stamp, "level": level, "event": line.removeprefix("batchswap: "), **values})
            )
        else:
            self._write(time.strftime("%Y-%m-%d %H:%M:%S ") + line if dated else line)

    def _write(self, line: str) -> None:
        """If anyone can still hear it: a log that is full, or a terminal that has gone, must not end a run."""
        try:
            self._print(line)
        except OSError as error:
            if error.errno not in _FOR_NOW:
                fall_silent()
        except ValueError:  # closed meanwhile
            return


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _print_line(line: str) -> None:
    if sys.stderr is None:  # closed from the start
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def end() -> None:
    """What could not be written until now would fail once more at the exit, and change its code."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        fall_silent()


def fall_silent() -> None:
    """From now on stderr leads nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
