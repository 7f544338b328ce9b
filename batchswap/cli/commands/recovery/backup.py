"""`batchswap backup`: copy the ledger."""

from batchswap.cli.command_options import BackupOptions
from batchswap.cli.console import Console
from batchswap.errors import Exit, UsageError
from batchswap.ledger.file import backup as backups
from batchswap.ledger.file import connection
from batchswap.report.formatting import size


def backup(console: Console, options: BackupOptions) -> int:
    """Copy the ledger."""
    db, file = options.db, options.file
    if not connection.exists(db):
        raise UsageError(f"{db}: there is no ledger; --db names another one")
    console.conclude(f"{db} copied to {file} ({size(backups.copy(db, file))})")
    return Exit.DONE
