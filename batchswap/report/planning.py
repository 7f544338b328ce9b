"""What a run would do: the manifests' rows beside the ledger's tasks, as a stream. Nothing is written anywhere."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from batchswap.ledger import queries, views
from batchswap.ledger.queries import Selection
from batchswap.ledger.rows import split_query
from batchswap.manifest import Chunk
from batchswap.report.words import money, plural, safe, span
from batchswap.settings import Settings
from batchswap.states import State
from batchswap.tasks import Model, Row, is_url

_PAGE = 500
AT_WORK = (State.SUBMITTING, State.RUNNING, State.FETCHING, State.UNCERTAIN)
KINDS = ("new", "changed", "unfinished", "done", "failed", "uncertain", "cancelled", "orphaned", "left_out")
"""left_out: rows that --filter, --tag or --limit leave for another time. orphaned: tasks whose row is gone."""


class Sample(msgspec.Struct, frozen=True):
    """A row of a model that the API can be asked to price, with its folder."""

    row: Row
    folder: str


class Prices(msgspec.Struct, frozen=True):
    """What one task of a model costs, as the API estimates it; None: unknown. And what is on the account."""

    each: dict[Model, float | None] = {}
    balance: float | None = None
    note: str = ""


class Work(msgspec.Struct):
    """What there is to do. `submits` counts attempts that would be paid for, by model; `polls` what runs already."""

    batches: list[str]
    rows: dict[str, int]
    submits: dict[Model, int]
    samples: dict[Model, Sample]
    running: int
    uploads: int


class Surveyor:
    """Goes through the rows once and remembers only counts, and which local files it has seen."""

    def __init__(self, db: sqlite3.Connection | None, selection: Selection) -> None:
        """`db` None: there is no ledger yet, everything is new."""
        self._db, self._selection = db, selection
        self._rows: Counter[str] = Counter()
        self._submits: Counter[Model] = Counter()
        self._samples: dict[Model, Sample] = {}
        self._files: set[int] = set()
        self._matched: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._running = 0

    def survey(self, chunks: Iterable[Chunk]) -> Work:
        """Raises what `chunks` raises (ManifestErrors)."""
        for chunk in chunks:
            self._seen[chunk.batch] += 0
            for start in range(0, len(chunk.rows), _PAGE):
                self._take(chunk, chunk.rows[start : start + _PAGE])
        batches = list(self._seen)
        if self._db is not None:
            self._rows["orphaned"] = sum(views.size_of(self._db, name) - self._seen[name] for name in batches)
        rows = {kind: self._rows[kind] for kind in KINDS}
        return Work(batches, rows, dict(self._submits), self._samples, self._running, len(self._files))

    def _take(self, chunk: Chunk, rows: list[Row]) -> None:
        known = views.known(self._db, chunk.batch, [row.key for row in rows]) if self._db is not None else {}
        self._seen[chunk.batch] += len(known)
        for row in rows:
            if self._is_selected(chunk.batch, row):
                self._count(chunk, row, known.get(row.key))
            else:
                self._rows["left_out"] += 1

    def _is_selected(self, batch: str, row: Row) -> bool:
        """As `queries.Queue` selects: the ledger's columns have no queries of URLs."""
        wanted = self._selection
        texts = (row.key, split_query(row.target)[0], split_query(row.face)[0], row.output)
        if wanted.text and not any(wanted.text in text for text in texts):
            return False
        if any(tag not in row.tags for tag in wanted.tags):
            return False
        self._matched[batch] += 1
        return wanted.limit is None or self._matched[batch] <= wanted.limit

    def _count(self, chunk: Chunk, row: Row, known: views.Known | None) -> None:
        kind, submitted = classify(row, known)
        self._rows[kind] += 1
        if known is not None and known.state in (State.RUNNING, State.FETCHING):
            self._running += 1
        if not submitted:
            return
        self._submits[row.model] += 1
        for given in (row.target, row.face):
            if given and not is_url(given):
                self._files.add(hash((chunk.folder, given)))
        sample = self._samples.get(row.model)
        if sample is None or (not _is_public(sample.row) and _is_public(row)):
            self._samples[row.model] = Sample(row, chunk.folder)


def _is_public(row: Row) -> bool:
    return is_url(row.target) and is_url(row.face)


def classify(row: Row, known: views.Known | None) -> tuple[str, bool]:
    """The kind of KINDS that a row is, and whether the next run would submit it."""
    if known is None:
        return "new", True
    if known.digest != row.digest:
        return "changed", known.state not in AT_WORK
    match known.state:
        case State.DONE | State.FAILED | State.UNCERTAIN | State.CANCELLED:
            return str(known.state), False
        case State.QUEUED:
            return "unfinished", True
        case _:
            return "unfinished", False


class Plan(msgspec.Struct, frozen=True):
    """The answer. `credits` and `seconds` are estimates, None where they cannot be told."""

    work: Work
    prices: Prices
    credits: float | None
    requests: int
    seconds: float | None
    budget: float | None
    is_affordable: bool | None

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.work.batches,
            "rows": self.work.rows,
            "submits": sum(self.work.submits.values()),
            "credits": {
                "estimated": self.credits,
                "per_task": {str(model): self.prices.each.get(model) for model in self.work.submits},
                "balance": self.prices.balance,
                "budget": self.budget,
                "affordable": self.is_affordable,
            },
            "requests": self.requests,
            "seconds": self.seconds,
        }

    def to_lines(self) -> Iterator[str]:
        rows = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in self.work.rows.items() if n) or "no rows"
        yield safe(f"{', '.join(self.work.batches)}: {rows}")
        submits = sum(self.work.submits.values())
        yield f"to submit: {plural(submits, 'task')}; to collect: {self.work.running:,}"
        yield safe(f"credits: {self._cost()}")
        yield f"requests: about {self.requests:,}"
        yield "time: " + ("unknown" if self.seconds is None else f"about {span(self.seconds)}")
        yield "nothing was charged, and nothing was written"

    def _cost(self) -> str:
        cost = "unknown" if self.credits is None else f"about {money(self.credits)} (an estimate)"
        each = [f"{money(price)} each for {model}" for model, price in self.prices.each.items() if price is not None]
        parts = [cost, *each]
        if self.prices.balance is not None:
            parts.append(f"balance {money(self.prices.balance)}")
        if self.budget is not None:
            parts.append(f"budget {money(self.budget)}")
        if self.is_affordable is False:
            parts.append("not enough: the run would stop with exit 6")
        return ", ".join(parts) + (f"; {self.prices.note}" if self.prices.note else "")


def conclude(work: Work, prices: Prices, settings: Settings, took: dict[Model, float]) -> Plan:
    """`took`: seconds that tasks of a model have taken on average, where any have."""
    submits = sum(work.submits.values())
    each = [(n, prices.each.get(model)) for model, n in work.submits.items()]
    known = [n * price for n, price in each if price is not None]
    cost = sum(known) if len(known) == len(each) else None
    limits = [limit for limit in (prices.balance, settings.budget) if limit is not None]
    is_affordable = None if cost is None or not limits else cost <= min(limits)
    polls = 0 if settings.callback_url else submits
    extra = len(work.submits) + 1 + work.uploads if submits else 0
    requests = submits + polls + work.running + extra
    seconds = _seconds(work, settings, requests, took)
    return Plan(work, prices, cost, requests, seconds, settings.budget, is_affordable)


def _seconds(work: Work, settings: Settings, requests: int, took: dict[Model, float]) -> float | None:
    """The larger of what the window and what the places in flight allow."""
    if not requests:
        return 0.0
    floors = []
    if settings.rate_limit is not None:
        floors.append(requests * settings.rate_period / settings.rate_limit)
    if all(model in took for model in work.submits):
        longest = max((took[model] for model in work.submits), default=0.0)
        total = sum(n * took[model] for model, n in work.submits.items())
        floors.append(max(longest, total / settings.in_flight))
    return max(floors, default=None)


def average_durations(db: sqlite3.Connection) -> dict[Model, float]:
    """Seconds that the last tasks of each model took."""
    found: dict[Model, list[float]] = {}
    for model, seconds in queries.took(db):
        found.setdefault(model, []).append(seconds)
    return {model: sum(each) / len(each) for model, each in found.items()}
