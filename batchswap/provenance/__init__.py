"""Provenance of results: the label (XMP), the signed manifest (C2PA), its keys, and their verification.

This import is cheap: the first call that needs c2pa or cryptography loads it, and raises MissingExtra without the extra
`provenance`. A label needs neither.
"""

import importlib
import importlib.util
from typing import Any

from batchswap.errors import MissingExtra

PACKAGES = ("c2pa", "cryptography")
"""The modules of the extra `provenance`."""


def is_installed() -> bool:
    """Return whether the packages of the extra `provenance` are installed. None is imported."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def load(name: str) -> Any:
    """Import a module of the extra `provenance`. Raise MissingExtra."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra("provenance", name.partition(".")[0]) from None
