"""`batchswap serve`: run the local provider as a server."""

import asyncio
import os
import signal

from batchswap.cli.command_options import ServeOptions
from batchswap.cli.console import Console, print_lines
from batchswap.cli.option_types import NO_RATE
from batchswap.errors import Exit, UsageError
from batchswap.events import LogEvent, report
from batchswap.local.faults import parse_fault
from batchswap.local.server.app import start
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.work.engine_interface import Engine
from batchswap.operations.provider import require_engine

SERVE_KEY = "BATCHSWAP_SERVE_KEY"


def serve(_: Console, options: ServeOptions) -> int:
    """Check the settings and the engine, then serve."""
    settings = server_settings(options)
    if not settings.keys and not settings.is_loopback:
        raise UsageError(f"other machines can reach {settings.host}: set an API key for them in {SERVE_KEY} first")
    settings.check()
    require_engine()
    return asyncio.run(serve_until_stopped(settings))


def server_settings(options: ServeOptions) -> ServerSettings:
    """Return the settings of the server. Raises UsageError for an unknown fault."""
    key = os.environ.get(SERVE_KEY, "")
    return ServerSettings(
        folder=options.folder,
        keys=(key,) if key else (),
        host=options.host,
        port=options.port,
        rate=None if options.rate == NO_RATE else options.rate,
        balance=options.balance,
        allow_private=options.allow_private,
        faults=tuple(parse_fault(text) for text in options.fault),
        seed=options.seed,
    )


async def serve_until_stopped(settings: ServerSettings, engine: Engine | None = None) -> Exit:
    """Serve until Ctrl-C or SIGTERM, and return its exit code."""
    ended: asyncio.Queue[Exit] = asyncio.Queue()
    for number, code in ((signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)):
        asyncio.get_running_loop().add_signal_handler(number, ended.put_nowait, code)
    async with start(settings, engine) as server:
        lines = [f"export CRUN_BASE_URL={server.base_url}"]
        if not settings.keys:
            lines.append(f"export CRUN_API_KEY={server.key}")
        print_lines(lines)
        key = f"the API key in {SERVE_KEY}" if settings.keys else "the random API key above"
        words = f"serving at {server.base_url} with {key}; its tasks are kept in {settings.folder}; Ctrl-C stops it"
        report(LogEvent.SERVING, words)
        return await ended.get()
