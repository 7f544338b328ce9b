"""The verdict on a run, and its comparison with the runs before it."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from batchswap.ledger import page_queries, report_queries
from batchswap.ledger.budgets import DIGITS
from batchswap.ledger.page_queries import RunRow
from batchswap.ledger.queries import Credits
from batchswap.report.formatting import counted, moment, money, outcome, plural, priced, span
from batchswap.report.status import is_running
from batchswap.states import Quality, State

COMPARED = 7
"""Runs that are compared: the last one and the ones before it."""


class PageRun(msgspec.Struct, frozen=True):
    """A run as the page shows it. None: unknown. `results` and `failed` count the attempts of this run by their end."""

    id: int
    started_at: float
    seconds: float | None
    exit_code: int | None
    outcome: str
    spent: float
    reserved: float
    unpriced: int
    results: int
    failed: int
    requests: int | None
    quality: dict[str, int]
    version: str
    provider: str

    @property
    def per_result(self) -> float | None:
        """Return the credits for each result; None if there is none, or a cost is unknown."""
        return round(self.spent / self.results, DIGITS) if self.results and not self.unpriced else None

    @property
    def swapped(self) -> float | None:
        """Return the share of swaps among the examined results of its batches."""
        known = sum(n for name, n in self.quality.items() if name != Quality.UNKNOWN)
        return self.quality.get(Quality.SWAPPED, 0) / known if known else None


class PageVerdict(msgspec.Struct, frozen=True):
    """The first lines of the page. `tone`: "good", "look" or "bad"."""

    title: str
    sentence: str
    tone: str
    needs: int
    counts: dict[str, int]


def page_run(db: sqlite3.Connection, run: RunRow, ledger: Path) -> PageRun:
    """Return a run with the ends of its attempts."""
    summary = msgspec.json.decode(run.summary) if run.summary else {}
    summary = summary if isinstance(summary, dict) else {}
    ends = page_queries.ends_of(db, run.id)
    requests = summary.get("requests")
    seconds = summary.get("seconds")
    if not isinstance(seconds, int | float):
        seconds = None if run.ended_at is None else run.ended_at - run.started_at
    return PageRun(
        id=run.id,
        started_at=run.started_at,
        seconds=seconds,
        exit_code=run.exit_code,
        outcome=_outcome(db, run, ledger, str(summary.get("reason", ""))),
        spent=round(run.spent, DIGITS) + 0.0,
        reserved=round(run.reserved, DIGITS) + 0.0,
        unpriced=run.unpriced,
        results=ends.get("succeeded", 0),
        failed=ends.get("failed", 0) + ends.get("lost", 0),
        requests=_total(requests) if isinstance(requests, dict) else None,
        quality={str(name): n for name, n in (summary.get("quality") or {}).items() if isinstance(n, int)},
        version=run.version,
        provider=run.provider,
    )


def _total(requests: dict[str, Any]) -> int:
    return sum(n for kind, n in requests.items() if kind != "refused_429" and isinstance(n, int))


def _outcome(db: sqlite3.Connection, run: RunRow, ledger: Path, reason: str) -> str:
    if run.exit_code is not None:
        return "all done" if run.exit_code == 0 else outcome(run.exit_code, reason)
    last = report_queries.last_run(db)
    is_last = last is not None and last.id == run.id
    return "in progress" if is_last and is_running(last, ledger) else "killed before it ended"


def verdict(run: PageRun | None, counts: dict[str, int], total: Credits, needs: int) -> PageVerdict:
    """Return the verdict on the batches: in one sentence the exit code, the tasks, the money and the time."""
    tasks = sum(counts.values())
    done = counts[State.DONE]
    parts = [_ended(run), counted(counts), _cost(total, run)]
    if run is not None and run.seconds is not None:
        parts.append(span(run.seconds))
    head, *rest = (part for part in parts if part)
    sentence = f"{head}: {', '.join(rest)}." if rest else f"{head}."
    is_over = tasks > 0 and done + counts[State.CANCELLED] == tasks
    tone = "bad" if needs else "good" if is_over else "look"
    return PageVerdict(_title(run, counts, needs, is_over=is_over), sentence, tone, needs, counts)


def _title(run: PageRun | None, counts: dict[str, int], needs: int, *, is_over: bool) -> str:
    done, failed, tasks = counts[State.DONE], counts[State.FAILED], sum(counts.values())
    if run is None:
        return "There was no run yet."
    if needs:
        return f"{plural(needs, 'task')} {'needs' if needs == 1 else 'need'} you."
    if is_over:
        return "Everything is done."
    others = f", {failed:,} failed" if failed else ""
    return f"{done:,} of {plural(tasks, 'task')} {'is' if done == 1 else 'are'} done{others}."


def _ended(run: PageRun | None) -> str:
    if run is None:
        return "No run yet"
    if run.exit_code is None:
        return (
            f"The run of {moment(run.started_at)[:-3]} {'is' if run.outcome == 'in progress' else 'was'} {run.outcome}"
        )
    return f"The run of {moment(run.started_at)[:-3]} ended with exit code {run.exit_code} ({run.outcome})"


def _cost(total: Credits, run: PageRun | None) -> str:
    """Return the credits of the batches. An unknown cost is never zero."""
    spent = "cost unknown" if total.unpriced and not total.spent else f"{priced(total.spent)} spent"
    more = []
    if run is not None and run.spent != total.spent:
        more.append(f"{money(run.spent)} in this run")
    if total.reserved:
        more.append(f"{money(total.reserved)} more reserved")
    if total.unpriced and total.spent:
        more.append(f"cost of {plural(total.unpriced, 'attempt')} unknown")
    return f"{spent} ({', '.join(more)})" if more else spent


def compare(runs: Sequence[PageRun]) -> list[str]:
    """Return how the newest of these runs differs from the median of the others, in sentences."""
    if len(runs) < 2:
        return []
    now, *before = runs
    found = []
    for name, words in (("seconds", "took"), ("spent", "spent"), ("per_result", "paid for each result")):
        value = getattr(now, name)
        others = [other for each in before if (other := getattr(each, name))]
        if value and others:
            found.append(f"It {words} {_difference(value / median(others))} the median of the runs before.")
    return found


def _difference(ratio: float) -> str:
    if abs(ratio - 1) < 0.005:
        return "the same as"
    if ratio >= 2:
        return f"{ratio:.1f} times"
    return f"{abs(ratio - 1) * 100:.0f} % {'more' if ratio > 1 else 'less'} than"
