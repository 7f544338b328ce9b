"""Processes that examine media files with the local engine: a file that crashes them fails only its own look."""

from collections.abc import Callable
from typing import Any, TypeVar

from batchswap.errors import BatchswapError, EngineError, MissingExtra
from batchswap.settings import cores
from batchswap.workers.worker_pool import CallFailed, Workers

T = TypeVar("T")

LIMIT = 900.0
"""Seconds for one look. A clip of two hours in 4K without any face needs a minute or two."""
CALLS = 200
"""Looks after which a process is replaced."""
NICENESS = 10
"""A look gives way to the run, whose requests must leave in time."""
CRASHES = 5
"""Failures in a row after which the engine counts as unusable here."""


class NotExamined(BatchswapError):
    """A file could not be examined."""


class EngineUnusable(NotExamined):
    """No file can be examined on this machine."""


class LookPool:
    """At most `most` processes, each started when it is first needed."""

    def __init__(self, most: int) -> None:
        self._workers = Workers(max(1, min(most, cores())), niceness=NICENESS, calls=CALLS)
        self._crashes = 0

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call the function in a process. Raise the EngineError of the call, or NotExamined if it had no result."""
        if self._crashes >= CRASHES:
            raise EngineUnusable(f"{CRASHES} looks failed, one after the other")
        try:
            found: T = await self._workers.run(_guarded, function, arguments, limit=LIMIT)
        except EngineError as error:
            self._crashes = 0
            if error.culprit == "engine":
                raise EngineUnusable(str(error)) from None
            raise
        except (CallFailed, OSError) as error:
            self._crashes += 1
            raise NotExamined(str(error)) from None
        self._crashes = 0
        return found

    async def close(self) -> None:
        """End the processes. Their calls fail."""
        await self._workers.close()


def _guarded(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """Call the function. A missing extra concerns all files, and is raised as an error of the engine."""
    try:
        return function(*arguments)
    except MissingExtra as error:
        raise EngineError("engine", str(error)) from error
