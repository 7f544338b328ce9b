"""Read the values of the metrics from a ledger."""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from batchswap import __version__
from batchswap.ledger import deliveries, queries, report_queries
from batchswap.ledger.budgets import exceeded, excesses
from batchswap.ledger.runs import traffic
from batchswap.ledger.runs.traffic import Total
from batchswap.ledger.submission_log.position import ledger_id
from batchswap.metrics import definitions
from batchswap.metrics.definitions import Metric
from batchswap.report.status import is_running
from batchswap.states import State
from batchswap.tasks import clean

MOST_BATCHES = 200
"""Batches with a label of their own, the newest ones. Prometheus keeps a series for each batch and state."""
LONGEST_NAME = 120
ID_DIGITS = 8


class MetricSample(msgspec.Struct, frozen=True):
    """A value of a metric, with the values of its labels in their order."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


class Samples(msgspec.Struct, frozen=True):
    """All values. `ledger` is the label of the ledger."""

    ledger: str
    found: list[MetricSample]


def samples_of(db: sqlite3.Connection | None, ledger: Path, exit_code: int | None = None) -> Samples:
    """Read all values in one transaction. Without a ledger, read only the values that do not need it.

    `exit_code`: the one of a run that has just ended, perhaps before it could record it in the ledger.
    """
    found = [MetricSample(definitions.BUILD, 1, (__version__,)), MetricSample(definitions.READ_AT, time.time())]
    name = hashlib.sha256(bytes(ledger.absolute())).hexdigest()[:ID_DIGITS]
    if db is not None:
        db.execute("begin")
        try:
            name = ledger_id(db)[:ID_DIGITS]
            found += [*_of_runs(db, ledger, exit_code), *_of_tasks(db), *_of_requests(db)]
        finally:
            db.execute("rollback")
    elif exit_code is not None:
        found.append(MetricSample(definitions.EXIT_CODE, exit_code))
    return Samples(name, found)


def _of_runs(db: sqlite3.Connection, ledger: Path, exit_code: int | None) -> Iterator[MetricSample]:
    ended, run = report_queries.last_end(db), report_queries.last_run(db)
    if exit_code is None and ended is not None:
        exit_code = ended[1]
    if exit_code is not None:
        yield MetricSample(definitions.EXIT_CODE, exit_code)
    yield MetricSample(definitions.SUCCESS, report_queries.last_success(db) or 0.0)
    if run is not None:
        yield MetricSample(definitions.STARTED, run.started_at)
    if ended is not None:
        yield MetricSample(definitions.ENDED, ended[0])
    yield MetricSample(definitions.IN_PROGRESS, is_running(run, ledger))


def _of_tasks(db: sqlite3.Connection) -> Iterator[MetricSample]:
    for (batch, state), n in _counts(db).items():
        yield MetricSample(definitions.TASKS, n, (batch, state))
    yield MetricSample(definitions.NEEDS_YOU, deliveries.needing(db, None, queries.counts(db)))
    if (since := report_queries.uncertain_since(db)) is not None:
        yield MetricSample(definitions.UNCERTAIN, since)
    yield MetricSample(definitions.SIGNED, deliveries.count_signed(db))
    money = queries.credits_of(db)
    yield MetricSample(definitions.CREDITS, money.spent, ("spent",))
    yield MetricSample(definitions.CREDITS, money.reserved, ("reserved",))
    yield MetricSample(definitions.CREDITS, exceeded(excesses(db)), ("exceeded",))
    if (balance := report_queries.last_balance(db)) is not None:
        yield MetricSample(definitions.CREDITS, balance[0], ("balance",))


def _counts(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Count tasks by batch and state. Batches whose names look the same once they are printable are added up."""
    found: dict[tuple[str, str], int] = {}
    for name, counts in report_queries.counts_of_newest(db, MOST_BATCHES):
        label = clean(name, LONGEST_NAME)
        for state in State:
            found[label, state] = found.get((label, state), 0) + counts.get(state, 0)
    return found


def _of_requests(db: sqlite3.Connection) -> Iterator[MetricSample]:
    metrics = {traffic.REQUESTS: definitions.REQUESTS, traffic.REQUEST_SECONDS: definitions.REQUEST_SECONDS}
    totals = traffic.totals(db)
    for total, value in totals.items():
        if (metric := metrics.get(total.name)) is not None:
            yield MetricSample(metric, value, (total.kind, total.outcome))
    yield MetricSample(definitions.WAITED, totals.get(Total(traffic.WAIT_SECONDS), 0.0))
