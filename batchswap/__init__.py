"""batchswap: a batch job runner for face swaps. The README and docs/guide.md describe its use.

The names in `__all__` are the Python API (docs/python-api.md). They are imported on first use.
"""

import importlib
from typing import Any

__version__ = "0.2.0"
__all__ = ["Settings", "open_ledger", "plan", "plan_async", "run", "run_async"]


def __getattr__(name: str) -> Any:
    """Import the API on the first use of one of its names. The command line starts faster without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("batchswap.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
