"""Everything that a page shows, except its tasks and pictures, which are streamed."""

import platform
import shlex
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchswap import __version__
from batchswap.errors import UsageError
from batchswap.ledger import deliveries, page_queries, queries, releases, report_queries
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.file.connection import VERSION
from batchswap.ledger.operator_actions import GIVEN_UP
from batchswap.ledger.releases import ReleaseUse
from batchswap.report import stored_files
from batchswap.report.formatting import plural, priced, safe
from batchswap.report.next_commands import command
from batchswap.report.page import charts, money_table, needs, overview, problems
from batchswap.report.page.charts import TimeLine
from batchswap.report.page.money_table import Money
from batchswap.report.page.needs import NeedKind, StripOf
from batchswap.report.page.overview import PageRun, PageVerdict
from batchswap.report.page.problems import ProblemGroup
from batchswap.settings import Settings
from batchswap.states import State
from batchswap.tasks import clean, public

CONSENTS, WITHOUT = 100, 20
LOOKED_FOR = 20_000


class Scope(msgspec.Struct, frozen=True):
    """What a page is about: batches by their id, and a run. `run_id` None: all runs. `out`: the folder of results."""

    ledger: Path
    out: Path
    batches: dict[str, int]
    run_id: int | None

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self.batches.values())


class Problem(msgspec.Struct, frozen=True):
    """Failed tasks that are alike, and the command for all of them."""

    group: ProblemGroup
    command: str
    remark: str


class Rights(msgspec.Struct, frozen=True):
    """The releases of the tasks. `signed` of the `done` results have a signature."""

    consents: list[ReleaseUse]
    without: int
    names: list[str]
    done: int
    signed: int


class Facts(msgspec.Struct, frozen=True):
    """The sections of a page, in their order."""

    verdict: PageVerdict
    run: PageRun | None
    needs: list[NeedKind]
    losses: list[str]
    """Sentences about results that are missing or changed, with commands between back-ticks."""
    quality: dict[str, int]
    problems: list[Problem]
    money: Money
    time_line: TimeLine | None
    runs: list[PageRun]
    differences: list[str]
    rights: Rights
    colophon: list[tuple[str, str]]


def scope_of(db: sqlite3.Connection, ledger: Path, names: tuple[str, ...], run: str, out: Path) -> Scope:
    """Return the scope of `--run N`, "last" or "all" and the named batches. Raise UsageError for an unknown run."""
    found = page_queries.run(db, int(run)) if run.isdecimal() else page_queries.run(db)
    if run.isdecimal() and found is None:
        last = page_queries.run(db)
        there = "there was no run yet" if last is None else f"the last one is run {last.id}"
        raise UsageError(f"there is no run {run} in {ledger}: {there}; `--run all` covers all runs")
    if run == "all" or found is None:
        return Scope(ledger, out, page_queries.batch_ids(db, names or None), None)
    names = names or tuple(page_queries.batches_of(db, found.id))
    return Scope(ledger, out, page_queries.batch_ids(db, names or None), found.id)


DrawTimeLine = Callable[[sqlite3.Connection, Sequence[int], int | None], TimeLine | None]
"""Draws the time line of some batches and a run, which takes a second."""


def gather(
    db: sqlite3.Connection,
    scope: Scope,
    strip_of: StripOf,
    settings: Settings | None,
    draw: DrawTimeLine = charts.gather,
    looked_for: int = LOOKED_FOR,
) -> Facts:
    """Read the facts from the ledger. `settings`: those of the run, if they are known.

    `looked_for`: the number of results that are compared with what was stored, the latest ones.
    """
    names = tuple(scope.batches)
    counts = orphans.find(db, list(names)).without(queries.counts_in(db, names))
    found = page_queries.run(db, scope.run_id)
    run = None if found is None else overview.page_run(db, found, scope.ledger)
    rows = [] if found is None else page_queries.runs_of(db, scope.ids, until=found.id, most=overview.COMPARED)
    runs = [overview.page_run(db, each, scope.ledger) for each in rows]
    needing = deliveries.needing(db, names, queries.counts_in(db, names))
    total = queries.credits_in(db, names)
    return Facts(
        verdict=overview.verdict(run, counts, total, needing),
        run=run,
        needs=needs.gather(db, scope.ledger, scope.batches, queries.counts_in(db, names), strip_of),
        losses=[*stored_files.lines(stored_files.look(db, names, scope.out, looked_for), scope.ledger, scope.out)],
        quality=deliveries.qualities(db, names, done=counts[State.DONE]),
        problems=_problems(db, scope),
        money=money_table.gather(db, scope.ids, scope.run_id),
        time_line=draw(db, scope.ids, scope.run_id),
        runs=runs,
        differences=overview.compare(runs),
        rights=_rights(db, scope, counts[State.DONE]),
        colophon=_colophon(db, scope, run, settings),
    )


def _problems(db: sqlite3.Connection, scope: Scope) -> list[Problem]:
    groups = problems.fold(page_queries.failures(db, scope.ids))
    of_code: dict[str, int] = {}
    for group in groups:
        of_code[group.code] = of_code.get(group.code, 0) + group.count
    batch = next(iter(scope.batches)) if len(scope.batches) == 1 else None
    return [_problem(group, of_code[group.code], batch, scope.ledger) for group in groups]


def _problem(group: ProblemGroup, of_code: int, batch: str | None, ledger: Path) -> Problem:
    words = command("retry", ledger, options=_options(group.code, batch))
    remarks = []
    if of_code > group.count:
        remarks.append(f"It queues {plural(of_code - group.count, 'other task')} with this code, too.")
    if group.saveable:
        remarks.append(
            f"{plural(group.saveable, 'result')} can still be at the API: the next run downloads them for free."
        )
    if group.code == GIVEN_UP:
        remarks.append("These tasks may already be paid: the command may pay a second time.")
    return Problem(group, safe(words), " ".join(remarks))


def _options(code: str, batch: str | None) -> str:
    parts = [f"--code {shlex.quote(code)}"] if code else []
    return " ".join([*parts, f"--batch {shlex.quote(batch)}"] if batch is not None else parts)


def _rights(db: sqlite3.Connection, scope: Scope, done: int) -> Rights:
    found = releases.uses(db, scope.ids)
    without = sum(each.tasks for each in found if not each.reference)
    named = [each for each in found if each.reference][:CONSENTS]
    return Rights(
        consents=[msgspec.structs.replace(each, reference=clean(each.reference, 200)) for each in named],
        without=without,
        names=[clean(name) for name in page_queries.without_consent(db, scope.ids, WITHOUT)] if without else [],
        done=done,
        signed=deliveries.count_signed(db, tuple(scope.batches)),
    )


def _colophon(
    db: sqlite3.Connection, scope: Scope, run: PageRun | None, settings: Settings | None
) -> list[tuple[str, str]]:
    zone = time.strftime("%Z (UTC%z)")
    found = [
        ("made by", f"batchswap {__version__}, Python {platform.python_version()}, ledger schema {VERSION}"),
        ("time zone", f"all times are {zone}"),
        ("ledger", clean(str(scope.ledger))),
        ("batches", clean(", ".join(scope.batches), 1_000) or "none"),
    ]
    if run is not None:
        version = f"batchswap {run.version}" if run.version else "an unknown version"
        found.append(("run", f"number {run.id}, {version}, provider {clean(run.provider)}"))
    balance = report_queries.last_balance(db)
    if balance is not None:
        found.append(("balance", f"{priced(balance[0])} at the end of the last run that read it"))
    found += [(f"setting {name}", value) for name, value in _differing(settings)]
    if settings is None:
        found.append(("settings", "the ledger does not record the options of a run; `run --report` shows them here"))
    return found


_PLACES = {"db", "batches", "deadline", "ends_at", "callback_url"}
"""Settings that are shown elsewhere, have no default to differ from, or hold an address that is a secret."""


def _differing(settings: Settings | None) -> list[tuple[str, str]]:
    """Return the settings that are not the defaults."""
    if settings is None:
        return []
    usual = msgspec.structs.asdict(Settings(provider=settings.provider))
    given = msgspec.structs.asdict(settings)
    return [
        (name.replace("_", "-"), _text(value))
        for name, value in given.items()
        if name not in _PLACES and value != usual[name]
    ]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return clean(", ".join(map(str, value)))
    return "on" if value is True else "off" if value is False else clean(public(str(value)))
