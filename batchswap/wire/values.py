"""Single values of the API's JSON, read without trust: what is not of the type is as if it was not there."""

from collections.abc import Mapping
from typing import Any

import msgspec

LARGEST = 2.0**53
"""Beyond it a float counts no single units any longer, and sums of such numbers mean nothing."""


def text(value: Any) -> str:
    """A string as it is, a number in words, and "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def number(value: Any) -> float | None:
    """A number that can be reckoned with, also when it comes as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) <= LARGEST else None


def price(value: Any) -> float | None:
    """What something costs: never less than nothing. None where the API does not say it."""
    found = number(value)
    return found if found is not None and found >= 0.0 else None


def integer(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def usable_id(value: Any) -> str | None:
    """A remote id: 1-256 printable ASCII characters (api.md, code 200). None for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        return None
    return value if all("!" <= c <= "~" for c in value) else None


class Data(msgspec.Struct, frozen=True):
    """The `data` of an answer, or a part of it, with the API's names for its fields."""

    def to_json(self) -> dict[str, Any]:
        return {name: _to_json(value) for name, value in msgspec.structs.asdict(self).items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, Data):
        return value.to_json()
    return list(value) if isinstance(value, tuple) else value
