"""Commands that look at the ledger and change nothing: status, tasks, show."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchswap.cli import options

if TYPE_CHECKING:
    import sqlite3

STATES = ["queued", "submitting", "running", "fetching", "done", "failed", "uncertain", "cancelled"]


@click.command(cls=options.Command, short_help="counts, credits, and what needs a person, per batch")
@options.DB
@options.OUT
@options.option("--plot", type=options.FILE, default=None, metavar="FILE", help="draw the last run into an SVG file")
@options.JSON
def status(db: Path, out: Path, plot: Path | None, as_json: bool) -> int:
    """Counts, credits, and what needs a person, per batch and in total; which result files are gone or changed.

    Results are looked for where they were stored, and below --out.
    """
    from batchswap.cli.printing import columns, print_json, print_lines
    from batchswap.ledger import queries
    from batchswap.operations.ledger_access import reading
    from batchswap.report import log_mismatch, stored_files
    from batchswap.report import status as standing
    from batchswap.report.formatting import safe

    with reading(db) as ledger:
        found = standing.gather(ledger, db)
        files = stored_files.look(ledger, queries.batches(ledger), out)
        lag = log_mismatch.look(ledger)
        if plot is not None:
            _plot(ledger, plot, db)
    if as_json:
        print_json({**standing.to_json(found), "behind": lag.count, "results": files.to_json()})
    else:
        print_lines(standing.to_lines(found, db, time.time(), columns()))
        print_lines(stored_files.lines(files, db, out))
        if lag.count:
            print_lines([safe(lag.words(db))])
    return 0


def _plot(ledger: "sqlite3.Connection", path: Path, db: Path) -> None:
    """The course of the last run that sent anything. Raises UsageError when none did, or for another's file."""
    from batchswap.errors import UsageError
    from batchswap.ledger import traffic
    from batchswap.report import run_chart

    run_chart.check_place(path, db)
    run_id = traffic.last_run(ledger)
    course = None if run_id is None else traffic.course(ledger, run_id)
    if course is None:
        raise UsageError("there is nothing to draw: no run has sent a request yet")
    run_chart.write(course, path)


@click.command(cls=options.Command, short_help="the tasks, one a line")
@options.DB
@options.option("--state", type=click.Choice(STATES), multiple=True, show_default=False, help="only these; repeatable")
@options.option("--batch", metavar="NAME", default=None, help="only this batch")
@options.option("--code", metavar="CODE", default=None, help="only with this reason code, such as 501")
@options.option("--format", "form", type=click.Choice(["table", "csv", "json", "jsonl"]), default="table", help="how")
def tasks(db: Path, state: tuple[str, ...], batch: str | None, code: str | None, form: str) -> int:
    """The tasks, one a line, in the order in which they came into the ledger."""
    from batchswap.cli.printing import columns, print_lines
    from batchswap.ledger import report_queries
    from batchswap.operations.ledger_access import check_batch, reading
    from batchswap.report.task_list import FORMATS

    with reading(db) as ledger:
        check_batch(ledger, batch, db)
        print_lines(FORMATS[form](report_queries.lines(ledger, states=state, batch=batch, code=code), columns()))
    return 0


@click.command(cls=options.Command, short_help="one task: inputs, attempts, events, files")
@click.argument("key", metavar="KEY")
@options.DB
@options.JSON
def show(key: str, db: Path, as_json: bool) -> int:
    """One task: inputs, attempts, events, files. KEY is a task's key, or batch/key."""
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.operations.ledger_access import find, reading
    from batchswap.report import task_detail

    with reading(db) as ledger:
        found = task_detail.gather(ledger, find(ledger, key, db))
    if as_json:
        print_json(task_detail.to_json(found))
    else:
        print_lines(task_detail.to_lines(found, db))
    return 0
