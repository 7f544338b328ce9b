"""Keep the stderr output of native libraries away from the user's terminal."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

STDERR = 2
LAST = 2000
"""Maximum of bytes to show with an error."""


@dataclass(frozen=True)
class CapturedStderr:
    """The file with the captured output."""

    file: IO[bytes]

    def text(self) -> str:
        """Return the end of the output."""
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(max(0, size - LAST))
        return self.file.read().decode("utf-8", "replace").strip()


@contextlib.contextmanager
def kept_stderr() -> Iterator[CapturedStderr]:
    """Redirect this process's stderr, including that of C++ code, to a temporary file.

    This affects the whole process: use it in a worker process, or if nothing else writes to stderr meanwhile.
    """
    sys.stderr.flush()
    terminal = os.dup(STDERR)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), STDERR)
            try:
                yield CapturedStderr(file)
            finally:
                sys.stderr.flush()
                os.dup2(terminal, STDERR)
    finally:
        os.close(terminal)
