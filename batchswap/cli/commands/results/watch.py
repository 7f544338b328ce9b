"""`batchswap watch`: serve the live page of a ledger."""

import asyncio
import signal

from batchswap.cli.console import Console, print_lines
from batchswap.cli.result_options import WatchOptions
from batchswap.errors import Exit
from batchswap.events import LogEvent, report
from batchswap.ledger.file import connection
from batchswap.operations.ledger_access import reading
from batchswap.report.page import render
from batchswap.watch.guard import is_loopback
from batchswap.watch.server import serving


def watch(_: Console, options: WatchOptions) -> int:
    """Serve until Ctrl-C or SIGTERM.

    A ledger that does not exist yet may come later. One that cannot be opened is an error now.
    """
    render.require()
    if connection.exists(options.db):
        with reading(options.db):
            pass  # raises for a file that is no ledger
    return asyncio.run(_serve(options))


async def _serve(options: WatchOptions) -> Exit:
    ended: asyncio.Queue[Exit] = asyncio.Queue()
    for number, code in ((signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)):
        asyncio.get_running_loop().add_signal_handler(number, ended.put_nowait, code)
    async with serving(options.db, options.out, options.host, options.port) as address:
        print_lines([address])
        _announce(options)
        return await ended.get()


def _announce(options: WatchOptions) -> None:
    """Say what the printed address is, without repeating its token: messages may be logged."""
    who = "" if is_loopback(options.host) else "; whoever has this address can decide about the tasks"
    report(LogEvent.WATCHING, f"the live page of {options.db} is at the address above{who}; Ctrl-C stops it")
