"""Processes that do not outlive the test that starts them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waits import first_line

Process = subprocess.Popen[str]

ROOT = Path(__file__).parents[1]


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[Process]:
    """Start a process, and kill it at the end of the block if it has not ended by then."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def server(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[tuple[str, Process]]:
    """Start a server that prints its base URL, and give that URL and the process."""
    command = [sys.executable, "-m", module, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started(command, cwd=ROOT, env=None if env is None else dict(env), **pipes) as process:
        yield first_line(process.stdout), process
