"""`batchswap status`: show what is done, what it cost and what needs the user."""

import sqlite3
import time
from pathlib import Path

from batchswap.cli.command_options import StatusOptions
from batchswap.cli.console import Console, columns, print_json, print_lines
from batchswap.errors import Exit, UsageError
from batchswap.ledger import queries
from batchswap.operations.ledger_access import reading
from batchswap.report import log_mismatch, stored_files
from batchswap.report import status as report
from batchswap.report.formatting import safe


def status(_: Console, options: StatusOptions) -> int:
    """Print the report, missing results, and attempts that are only in the submission log."""
    db, out = options.db, options.out
    with reading(db) as ledger:
        found = report.gather(ledger, db)
        files = stored_files.look(ledger, queries.batches(ledger), out)
        lag = log_mismatch.look(ledger)
        if options.plot is not None:
            _plot(ledger, options.plot, db)
    if options.as_json:
        print_json({**report.to_json(found), "behind": lag.count, "results": files.to_json()})
    else:
        print_lines(report.to_lines(found, db, time.time(), columns()))
        print_lines(stored_files.lines(files, db, out))
        if lag.count:
            print_lines([safe(lag.words(db))])
    return Exit.DONE


def _plot(ledger: sqlite3.Connection, path: Path, db: Path) -> None:
    """Draw the last run that sent a request. Raise UsageError when there is none, or for a file to keep."""
    from batchswap.ledger.runs import traffic
    from batchswap.report import run_chart

    run_chart.check_place(path, db)
    run_id = traffic.last_run(ledger)
    course = None if run_id is None else traffic.course(ledger, run_id)
    if course is None:
        raise UsageError("no chart was drawn: no run has sent a request yet")
    run_chart.write(course, path)
