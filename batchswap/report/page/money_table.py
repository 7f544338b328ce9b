"""The credits of the batches by batch, tag, face and consent. An unknown cost has a column of its own."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from batchswap.ledger import page_queries
from batchswap.ledger.budgets import DIGITS
from batchswap.ledger.page_queries import MoneyRow
from batchswap.tasks import clean, public

SHOWN = 40
"""Groups of one kind that are shown; the others are one sum."""
_READ = 20_000
"""Groups that are read at most. The memory does not grow with the number of faces."""
_NONE = {"batch": "none", "tag": "no tag", "face": "no face", "consent": "no consent"}


class MoneyTable(msgspec.Struct, frozen=True):
    """The sums of one kind of group. `total` is not the sum of the rows for tags: a task may have several."""

    group: str
    rows: list[MoneyRow]
    is_overlapping: bool


class Money(msgspec.Struct, frozen=True):
    """All tables, the sums of all tasks, and those of the run of the page."""

    total: MoneyRow
    now: MoneyRow | None
    tables: list[MoneyTable]


def gather(db: sqlite3.Connection, batches: Sequence[int], run_id: int | None) -> Money:
    by_batch = page_queries.money(db, batches, "batch")
    tables = [MoneyTable("batch", _short(by_batch, "batch"), is_overlapping=False)]
    for group in ("tag", "face", "consent"):
        found = page_queries.money(db, batches, group, most=_READ)
        rows = _split(found) if group == "tag" else found
        overlapping = group == "tag" and sum(row.tasks for row in rows) > sum(row.tasks for row in found)
        tables.append(MoneyTable(group, _short(rows, group), is_overlapping=overlapping))
    now = None
    if run_id is not None:
        now = _sum("this run", page_queries.money(db, batches, "batch", run_id))
    return Money(_sum("all", by_batch), now, tables)


def _split(rows: Iterable[MoneyRow]) -> list[MoneyRow]:
    """Count each row for each of its tags."""
    found: dict[str, list[MoneyRow]] = {}
    for row in rows:
        for tag in dict.fromkeys(filter(None, row.name.split(";"))) or [""]:
            found.setdefault(tag, []).append(row)
    return sorted((_sum(tag, some) for tag, some in found.items()), key=_by_sum)


def _by_sum(row: MoneyRow) -> tuple[float, str]:
    return -row.spent, row.name


def _short(rows: list[MoneyRow], group: str) -> list[MoneyRow]:
    """Return the rows with the highest sums, with names that can be shown."""
    shown = [msgspec.structs.replace(row, name=_name(row.name, group)) for row in rows[:SHOWN]]
    rest = rows[SHOWN:]
    return [*shown, _sum(f"{len(rest):,} others", rest)] if rest else shown


def _name(name: str, group: str) -> str:
    if not name:
        return _NONE[group]
    return clean(public(name) if group == "face" else name, 200)


def _sum(name: str, rows: Sequence[MoneyRow]) -> MoneyRow:
    fields = MoneyRow.__struct_fields__[1:]
    return MoneyRow(name, **{field: round(sum(getattr(row, field) for row in rows), DIGITS) for field in fields})
