"""`batchswap show`: show one task with its attempts, events and files."""

from batchswap.cli.command_options import ShowOptions
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.errors import Exit
from batchswap.operations.ledger_access import find, reading
from batchswap.report import task_detail


def show(_: Console, options: ShowOptions) -> int:
    """Print the task with the key."""
    with reading(options.db) as ledger:
        found = task_detail.gather(ledger, find(ledger, options.key, options.db))
    if options.as_json:
        print_json(task_detail.to_json(found))
    else:
        print_lines(task_detail.to_lines(found, options.db))
    return Exit.DONE
