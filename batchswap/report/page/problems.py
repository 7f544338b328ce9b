"""Fold the failed tasks by their code and the pattern of their message, however many there are."""

import re
from collections.abc import Iterable

import msgspec

from batchswap.ledger.budgets import DIGITS
from batchswap.ledger.page_queries import Failure
from batchswap.tasks import clean

EXAMPLES = 3
MOST = 500
"""Patterns that are told apart. Later ones are counted under "other messages" of their code."""
OTHER = "other messages"
_PATTERNS = (
    (re.compile(r"https?://\S*[^\s.,;:)]"), "URL"),
    (re.compile(r"\"[^\"]*\"|'[^']*'|“[^”]*”"), "“…”"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "ID"),
    (re.compile(r"(?<![\w/])(?:[\w.~-]*/)+[\w.-]*\w"), "PATH"),
    (re.compile(r"\b(?=[0-9a-zA-Z_-]*\d)[0-9a-zA-Z_-]{12,}\b"), "ID"),
    (re.compile(r"(?<![A-Za-z])\d+(?:[.,]\d+)*"), "N"),
)


class ProblemGroup(msgspec.Struct):
    """Failed tasks with one code and one pattern of the message. `unknown` counts attempts without a price."""

    code: str
    pattern: str
    reason: str
    """One of the messages."""
    count: int = 0
    lost: float = 0.0
    unknown: int = 0
    saveable: int = 0
    """Tasks whose result is at the API: only its download failed."""
    first: float = float("inf")
    last: float = 0.0
    examples: list[str] = msgspec.field(default_factory=list)

    def add(self, failure: Failure) -> None:
        """Count a failed task."""
        self.count += 1
        self.lost = round(self.lost + failure.spent, DIGITS)
        self.unknown += failure.unknown
        self.saveable += failure.is_saveable
        self.first, self.last = min(self.first, failure.at), max(self.last, failure.at)
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{failure.batch}/{failure.key}")


def pattern_of(reason: str) -> str:
    """Return a message without the parts that differ from task to task: numbers, ids, URLs, paths and quotations."""
    text = clean(reason, 300)
    for each, name in _PATTERNS:
        text = each.sub(name, text)
    return text


def fold(failures: Iterable[Failure], most: int = MOST) -> list[ProblemGroup]:
    """Return the groups, largest first."""
    groups: dict[tuple[str, str], ProblemGroup] = {}
    patterns: dict[str, str] = {}
    for failure in failures:
        pattern = patterns.get(failure.reason)
        if pattern is None:
            pattern = pattern_of(failure.reason)
            if len(patterns) < most:
                patterns[failure.reason] = pattern
        key = failure.code, pattern
        if key not in groups and len(groups) >= most:
            key = failure.code, OTHER
        if key not in groups:
            groups[key] = ProblemGroup(failure.code, key[1], clean(failure.reason))
        groups[key].add(failure)
    return sorted(groups.values(), key=_by_size)


def _by_size(group: ProblemGroup) -> tuple[int, str, str]:
    return -group.count, group.code, group.pattern
