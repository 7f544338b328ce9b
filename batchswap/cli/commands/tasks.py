"""`batchswap tasks`: list the tasks."""

from batchswap.cli.command_options import TasksOptions
from batchswap.cli.console import Console, columns, print_lines
from batchswap.errors import Exit
from batchswap.ledger import report_queries
from batchswap.operations.ledger_access import check_batch, reading
from batchswap.report.task_list import FORMATS


def tasks(_: Console, options: TasksOptions) -> int:
    """Print the chosen tasks as they are read from the ledger."""
    with reading(options.db) as ledger:
        check_batch(ledger, options.batch, options.db)
        found = report_queries.lines(
            ledger,
            states=options.state,
            batch=options.batch,
            code=options.code,
            qualities=options.quality,
            review=options.review,
            consent=options.consent,
        )
        print_lines(FORMATS[options.format](found, columns()))
    return Exit.DONE
