"""The report of `batchswap plan`: work, cost and time of a run. All costs and times are estimates."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from batchswap.ledger import queries
from batchswap.ledger.budgets import DIGITS
from batchswap.ledger.enrolment.duplicates import NAMED
from batchswap.report.formatting import iso, moment, money, plural, safe, span
from batchswap.report.plan_survey import Work
from batchswap.runner.prepare.steps import STEPS, Step
from batchswap.runner.task_context import TaskClass
from batchswap.settings import Settings
from batchswap.tasks import Model


class PlanPrices(msgspec.Struct, frozen=True):
    """The estimated price of one task of each class, None if unknown, and the balance of the account."""

    each: dict[TaskClass, float | None] = {}
    balance: float | None = None
    note: str = ""


class Plan(msgspec.Struct, frozen=True):
    """The plan. `credits` and `seconds` are estimates, None if unknown."""

    work: Work
    prices: PlanPrices
    credits: float | None
    requests: int
    seconds: float | None
    budget: float | None
    is_affordable: bool | None
    finished_at: float | None = None
    """Unix time at which a run that starts now would end."""
    left_today: float | None = None
    """Credits of --budget-per-day that are left today."""
    visible_label: str = ""
    """The text that is drawn onto the results; "": none."""

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.work.batches,
            "rows": self.work.rows,
            "submits": sum(self.work.submits.values()),
            "credits": {
                "estimated": self.credits,
                "per_task": {str(group): self.prices.each.get(group) for group in self.work.submits},
                "balance": self.prices.balance,
                "budget": self.budget,
                "left_today": self.left_today,
                "affordable": self.is_affordable,
                "is_estimate": True,
                "note": self.prices.note,
            },
            "duplicates": [
                {"file": each.file, "line": each.line, "task": each.name, "same_as": each.other_name}
                for each in self.work.duplicates[:NAMED]
            ],
            "uploads": self.work.uploads,
            "detections": self.work.detections,
            "looks": self.work.looks,
            "requests": self.requests,
            "seconds": self.seconds,
            "finished_at": iso(self.finished_at),
            "visible_label": self.visible_label,
        }

    def to_lines(self) -> Iterator[str]:
        rows = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in self.work.rows.items() if n) or "no rows"
        yield safe(f"{', '.join(self.work.batches)}: {rows}")
        if self.work.kept:
            yield safe(self.work.kept)
        submits = sum(self.work.submits.values())
        yield f"to submit: {plural(submits, 'task')}; to collect: {self.work.running:,} already submitted"
        yield from self._credit_lines()
        extra = [plural(n, noun) for n, noun in self._extra() if n]
        yield f"requests: about {self.requests:,}" + (f", with {' and '.join(extra)}" if extra else "")
        yield "time: " + ("unknown" if self.seconds is None else f"about {span(self.seconds)}{self._end()}")
        if self.work.looks:
            targets = plural(self.work.looks, "target")
            yield f"faces: looked for in {targets} first, as `batchswap check --media` does now"
        if self.visible_label:
            yield encoding_words(self.visible_label)
        yield "nothing was charged, and nothing was written"

    def _extra(self) -> tuple[tuple[int, str], ...]:
        return (self.work.uploads, "upload"), (self.work.detections, "detection")

    def _end(self) -> str:
        return "" if self.finished_at is None or not self.seconds else f", done by {moment(self.finished_at)[:-3]}"

    def _credit_lines(self) -> Iterator[str]:
        parts = ["unknown" if self.credits is None else f"about {money(self.credits)} (an estimate)"]
        if self.prices.balance is not None:
            parts.append(f"balance {money(self.prices.balance)}")
        if self.budget is not None:
            parts.append(f"budget {money(self.budget)}")
        if self.left_today is not None:
            parts.append(f"{money(self.left_today)} left of today's budget")
        if self.is_affordable is False:
            parts.append("not enough: the run would stop with exit 6")
        each = [f"  {money(price)} for each {group}" for group, price in self.prices.each.items() if price is not None]
        note = safe(self.prices.note)
        yield f"credits: {', '.join(parts)}" + (f"; {note}" if note and not each else "")
        yield from each
        if note and each:
            yield f"  {note}"


def conclude(
    work: Work,
    prices: PlanPrices,
    settings: Settings,
    took: dict[Model, float],
    now: float | None = None,
    used_today: float = 0.0,
) -> Plan:
    """Return the plan. `took`: average seconds of earlier tasks of a model. `now`: Unix time.

    `used_today`: credits that count against the budget of the day.
    """
    each = [(n, prices.each.get(group)) for group, n in work.submits.items()]
    known = [n * price for n, price in each if price is not None]
    cost = round(sum(known), DIGITS) if len(known) == len(each) else None
    day = settings.budget_per_day
    left_today = None if day is None else round(max(0.0, day - used_today), DIGITS)
    limits = [limit for limit in (prices.balance, settings.budget, left_today) if limit is not None]
    is_affordable = None if cost is None or not limits else cost <= min(limits)
    requests = _requests(work, settings)
    seconds = _seconds(work, settings, requests, took)
    end = None if now is None or seconds is None else now + seconds
    label = settings.visible_label
    return Plan(work, prices, cost, requests, seconds, settings.budget, is_affordable, end, left_today, label)


def encoding_words(visible_label: str) -> str:
    """Return the sentence that results are not saved as they come."""
    return safe(f"results are encoded again (H.264, or the same picture format), to draw the label “{visible_label}”")


def _requests(work: Work, settings: Settings) -> int:
    """Return the requests of each task, plus those made once: uploads, face detections, prices and the balance."""
    own = {Step.SUBMIT: 1, Step.POLL: 0 if settings.callback_url else 1}
    tasks = sum(n * sum(own.get(step, 0) for step in STEPS[group.model]) for group, n in work.submits.items())
    prices = sum(1 for group in work.submits if group.step) + work.priced if settings.has_budget else len(work.submits)
    once = work.uploads + 2 * work.detections + prices + 1 if work.submits else 0
    return tasks + once + work.running


def _seconds(work: Work, settings: Settings, requests: int, took: dict[Model, float]) -> float | None:
    """Return the longer of the times that the rate limit and the in-flight limit need; None if neither is known."""
    if not requests:
        return 0.0
    floors = []
    if settings.rate_limit is not None:
        floors.append(requests * settings.rate_period / settings.rate_limit)
    if all(group.model in took for group in work.submits):
        longest = max((took[group.model] for group in work.submits), default=0.0)
        total = sum(n * took[group.model] for group, n in work.submits.items())
        floors.append(max(longest, total / settings.in_flight))
    return max(floors, default=None)


def average_durations(db: sqlite3.Connection) -> dict[Model, float]:
    """Return the average seconds of the latest tasks of each model."""
    found: dict[Model, list[float]] = {}
    for past in queries.took(db):
        found.setdefault(past.model, []).append(past.took)
    return {model: sum(each) / len(each) for model, each in found.items()}


def fill_prices(prices: PlanPrices, work: Work, charged: dict[Model, float]) -> PlanPrices:
    """Replace unknown prices by what the latest tasks of the model were charged on average."""
    missing = {group for group in work.submits if prices.each.get(group) is None and group.model in charged}
    if not missing:
        return prices
    each = {group: charged[group.model] if group in missing else prices.each.get(group) for group in work.submits}
    note = f"{'; '.join(filter(None, [prices.note, 'unknown prices are taken from the latest tasks']))}"
    return PlanPrices(each, prices.balance, note)
