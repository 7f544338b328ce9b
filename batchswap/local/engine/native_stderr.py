"""Keeps what native libraries write to stderr away from the user's terminal."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

STDERR = 2
LAST = 2000
"""So many of the last bytes are worth showing with an error."""


@dataclass(frozen=True)
class Said:
    """What was written to stderr meanwhile."""

    file: IO[bytes]

    def text(self) -> str:
        """The end of it."""
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(max(0, size - LAST))
        return self.file.read().decode("utf-8", "replace").strip()


@contextlib.contextmanager
def kept_stderr() -> Iterator[Said]:
    """Send this process's stderr, also that of C++ code, to a file that is gone afterwards.

    It is a matter of the whole process: use it in a worker process, or where nothing else writes meanwhile.
    """
    sys.stderr.flush()
    terminal = os.dup(STDERR)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), STDERR)
            try:
                yield Said(file)
            finally:
                sys.stderr.flush()
                os.dup2(terminal, STDERR)
    finally:
        os.close(terminal)
