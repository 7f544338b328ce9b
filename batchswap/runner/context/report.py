"""The one place through which a run reports."""

import logging
from collections.abc import Callable

from batchswap.events import LogEvent


class Report:
    """Passes on sentences with the name of their event. What concerns money or may be lost is a warning."""

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._say, self._warn = say, warn

    def __call__(self, event: LogEvent, text: str, *, level: int = logging.INFO, **fields: object) -> None:
        """Report. `fields`: what a program can use, such as task, attempt, code and seconds."""
        (self._warn if level >= logging.WARNING else self._say)(text)

    def warn(self, event: LogEvent, text: str, **fields: object) -> None:
        """Report what --quiet shows, too."""
        self(event, text, level=logging.WARNING, **fields)
