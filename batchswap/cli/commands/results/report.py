"""`batchswap report`: write the morning's report as HTML."""

import webbrowser
from pathlib import Path

from batchswap.cli.console import Console
from batchswap.cli.result_options import ReportOptions
from batchswap.errors import Exit, UsageError
from batchswap.operations.ledger_access import check_batch, reading
from batchswap.report import page


def report(console: Console, options: ReportOptions) -> int:
    """Write the report, and open it with --open. Write nothing for an unknown batch or run."""
    page.check(options.place, options.db)
    with reading(options.db) as ledger:
        for name in options.batches:
            check_batch(ledger, name, options.db)
        written = page.write(
            ledger,
            options.db,
            options.place,
            batches=options.batches,
            run=options.run,
            pictures=options.pictures,
            out=options.out,
        )
    if options.open and not _open(written.page):
        raise UsageError(f"{written.page} is written, but no browser was found to open it: open the file yourself")
    console.conclude(_sentence(written, options.place))
    return Exit.DONE


def _sentence(written: page.Written, place: Path) -> str:
    """Return the last line, with the reason if the page is not where it was asked for."""
    if written.page in (place, place / written.page.name):
        return written.words
    return f"{written.words} (a folder, because {written.tasks:,} tasks are too many for one file)"


def _open(path: Path) -> bool:
    """Open the page in the user's browser. Return False if there is none."""
    try:
        return webbrowser.open(path.absolute().as_uri())
    except webbrowser.Error:
        return False
