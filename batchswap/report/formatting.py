"""Text, credits, times and tables for people. Text from manifests and the API is made safe: one printable line."""

import re
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from batchswap.errors import Exit
from batchswap.states import State
from batchswap.tasks import clean

ELLIPSIS = "…"


def safe(text: str) -> str:
    """Return the text on one line, without control characters, escape sequences, API keys and URL queries."""
    return clean(text, max(len(text), 1) * 2)


def cells(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text: str, columns: int) -> str:
    """Return the text, cut to `columns` with an ellipsis."""
    if cells(text) <= columns:
        return text
    while text and cells(text) > columns - 1:
        text = text[:-1]
    return text + ELLIPSIS if columns > 0 else ""


def pad(text: str, columns: int, *, right: bool = False) -> str:
    space = " " * max(0, columns - cells(text))
    return space + text if right else text + space


def money(amount: float | None) -> str:
    """Return credits as `400`, `12.5` or, for None, `unknown`."""
    return "unknown" if amount is None else f"{amount:,.4f}".rstrip("0").rstrip(".")


def priced(amount: float | None) -> str:
    """Return `1 credit`, `12.5 credits` or `unknown credits`."""
    return f"{money(amount)} credit{'' if amount == 1 else 's'}"


def span(seconds: float) -> str:
    """Return a duration as `0.4 s`, `3 min 21 s` or `3 d 4 h`. Not negative, even if the clock was set back."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name} {rest} {part_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def moment(at: float | None) -> str:
    """Return a Unix time as the local date and time of this machine; "" for None."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def iso(at: float | None) -> str | None:
    """Return a Unix time as ISO 8601 in UTC."""
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def size(count: int | None) -> str:
    """Return a number of bytes as `812 B` or `4.2 MB`; "" for None."""
    if count is None:
        return ""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}"
    return f"{count} B"


def plural(count: int, noun: str) -> str:
    """Return `1 task` or `2 tasks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


_NAMED = {
    State.DONE: "done",
    State.FAILED: "failed",
    State.UNCERTAIN: "uncertain",
    State.SUBMITTING: "submitting",
    State.RUNNING: "running",
    State.FETCHING: "to download",
    State.QUEUED: "queued",
    State.CANCELLED: "cancelled",
}


def counted(counts: dict[str, int]) -> str:
    """Return the number of tasks in each state that has any: `49 done, 5 failed`."""
    return ", ".join(f"{counts[state]:,} {name}" for state, name in _NAMED.items() if counts[state]) or "no tasks"


_COUNT = re.compile(r"\d+ (failed|uncertain|without a swap)\b")


def outcome(code: int | None, reason: str) -> str:
    """Return why a run ended, without the counts of failed and uncertain tasks, which are shown next to it."""
    said = "; ".join(part for part in reason.split("; ") if not _COUNT.match(part))
    if said:
        return said
    return "needs your decision" if code == Exit.UNCERTAIN else "not all done"


def breadth(rows: Sequence[Sequence[str]]) -> int:
    """Return the columns that a table of these rows takes if nothing is cut."""
    widths = [max(cells(safe(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    columns: int | None,
    right: frozenset[int] = frozenset(),
    sample: int = 500,
) -> Iterator[str]:
    """Yield aligned lines. The widths are those of the first `sample` rows; later cells are cut to them.

    `columns`: the terminal's width; None to cut nothing in the last column. `right`: the numbers of the columns that
    are aligned to the right. Cells need not be safe.
    """
    coming = iter(rows)
    first = [[safe(cell) for cell in row] for row in islice(coming, sample)]
    widths = [max(cells(cell) for cell in column) for column in zip(heads, *first, strict=True)]
    if columns is not None:
        widths = _narrowed(widths, columns)

    def line(row: Sequence[str]) -> str:
        last = len(row) - 1
        cut = [cell if columns is None and i == last else fit(cell, widths[i]) for i, cell in enumerate(row)]
        return "  ".join(pad(cell, widths[i], right=i in right) for i, cell in enumerate(cut)).rstrip()

    yield line(heads)
    yield from map(line, first)
    for row in coming:
        yield line([safe(cell) for cell in row])


def _narrowed(widths: list[int], columns: int) -> list[int]:
    """Narrow the widest columns until the row fits, none below 8."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > columns and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return widths
