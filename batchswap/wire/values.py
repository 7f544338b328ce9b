"""Read single values of the API's JSON. A value of another type counts as missing."""

from collections.abc import Mapping
from typing import Any

import msgspec

LARGEST = 2.0**53
"""The largest number up to which floats represent all integers; sums of larger numbers are meaningless."""


def text(value: Any) -> str:
    """Return a string unchanged, a number as text, and "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def number(value: Any) -> float | None:
    """Return a usable number, also from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) <= LARGEST else None


def price(value: Any) -> float | None:
    """Return a price, which cannot be negative; None for anything else."""
    found = number(value)
    return found if found is not None and found >= 0.0 else None


def integer(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def usable_id(value: Any) -> str | None:
    """Return a remote id of 1 to 256 printable ASCII characters (api.md, code 200); None for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        return None
    return value if all("!" <= c <= "~" for c in value) else None


class Data(msgspec.Struct, frozen=True):
    """The `data` of an answer, or a part of it. Attributes have the API's field names."""

    def to_json(self) -> dict[str, Any]:
        return {name: _to_json(value) for name, value in msgspec.structs.asdict(self).items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, Data):
        return value.to_json()
    return list(value) if isinstance(value, tuple) else value
