"""Finds texts that occur twice among millions, in eight bytes a text."""

from array import array
from collections.abc import Iterable

PARTS = 64  # so that no more than one 64th of the hashes is in a set at once


class Seen:
    """Remembers the hashes of texts. Two texts may share one: what `suspects` names must be looked at."""

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(PARTS)]

    def add(self, texts: Iterable[str]) -> None:
        parts = self._parts
        for number in map(hash, texts):
            parts[number & 63].append(number)

    def suspects(self) -> set[int]:
        """The hashes that were added more than once."""
        found: set[int] = set()
        for part in self._parts:
            if len(set(part)) < len(part):
                once: set[int] = set()
                found.update(number for number in part if number in once or once.add(number))  # type: ignore[func-returns-value]
        return found
