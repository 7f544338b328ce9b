"""Kill a process at a named point, without any code in the product. The process finds this file on its PYTHONPATH.

CHAOS_POINT is `module:name@before#2`: SIGKILL before the second call. With `after`, when the call has returned.
"""

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(function: Callable[..., Any], *, before: bool, call: int) -> Callable[..., Any]:
    """Return a function that kills the process at its `call`-th call."""
    calls = 0

    def count() -> bool:
        nonlocal calls
        calls += 1
        if before and calls == call:
            die()
        return calls == call

    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        is_last = count()
        found = await function(*args, **kwargs)
        return die() if is_last else found

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        is_last = count()
        found = function(*args, **kwargs)
        return die() if is_last else found

    return awaited if inspect.iscoroutinefunction(function) else plain


def arm(point: str) -> None:
    where, _, rest = point.partition("@")
    when, _, call = rest.partition("#")
    module_name, _, path = where.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    wrapped = deadly(getattr(owner, name), before=when == "before", call=int(call or 1))
    setattr(owner, name, wrapped)
    for step in getattr(getattr(owner, "steps", None), "_migrations", ()):
        if step.name == name:  # the steps of the schema are called through this list
            step.fn = wrapped


if point := os.environ.get("CHAOS_POINT"):
    arm(point)
