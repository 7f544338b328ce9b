"""batchswap: a batch job runner for face swaps. The ledger is the only truth; the README says how to use it.

The names of `__all__` are the Python API (docs/python-api.md). They are loaded when they are first used.
"""

import importlib
from typing import Any

__version__ = "0.2.0"
__all__ = ["Settings", "open_ledger", "plan", "plan_async", "run", "run_async"]


def __getattr__(name: str) -> Any:
    """Load the API with the first use of one of its names: the command line starts without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("batchswap.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
