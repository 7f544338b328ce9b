"""From a command into the event loop and back. asyncio is loaded here, by the commands that need it."""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def complete(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; raises what it raises."""
    import asyncio

    return asyncio.run(work)
