"""Found on the PYTHONPATH of a process that is to die: SIGKILL at a named point, without a word of it in the product.

CHAOS_POINT is `module:name@before#2`: kill at the second call, before it begins; `after`: when it has returned.
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
    """The function, which kills the process at its `call`-th call."""
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
        if step.name == name:  # a step of the schema is called through this list
            step.fn = wrapped


if point := os.environ.get("CHAOS_POINT"):
    arm(point)
