"""`batchswap backup`: a copy of the ledger."""

from pathlib import Path

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.errors import Exit, UsageError


@click.command(cls=options.Command, short_help="a consistent copy of the ledger, also during a run")
@click.argument("file", metavar="FILE", type=options.FILE)
@options.DB
@click.pass_obj
def backup(voice: Voice, /, file: Path, db: Path) -> int:
    """Copy the ledger to FILE, consistently, also during a run.

    FILE may be an older copy, which is replaced when the new one is complete; no other file is. The copy is as large
    as the ledger: about 1 GB for a million rows. Before a restored copy is run, `batchswap rebuild` brings it up to
    what the submission log knows; a run refuses it until then.
    """
    from batchswap.ledger.file import backup as backups
    from batchswap.ledger.file import connection
    from batchswap.report.formatting import size

    if not connection.exists(db):
        raise UsageError(f"{db}: there is no ledger; --db names another one")
    voice.conclude(f"{db} copied to {file} ({size(backups.copy(db, file))})")
    return Exit.DONE
