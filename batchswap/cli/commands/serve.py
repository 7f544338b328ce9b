"""Commands about where tasks go: the account's balance, and the local provider as a server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import option_types as kinds
from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, UsageError

if TYPE_CHECKING:
    from batchswap.local.server.settings import ServerSettings
    from batchswap.local.server.work.engine_interface import Engine

SERVE_KEY = "BATCHSWAP_SERVE_KEY"


@click.command(cls=options.Command, short_help="credits on the account")
@options.DB
@options.PROVIDER
@options.JSON
@click.pass_obj
def balance(voice: Voice, /, as_json: bool, **asked: Any) -> int:
    """Credits on the account."""
    from batchswap import wire
    from batchswap.cli.hearing import listen
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.cli.settings_from_options import build_settings
    from batchswap.errors import BatchswapError
    from batchswap.report.formatting import priced

    listen(voice)
    answer = complete(_ask_balance(build_settings(**asked)))
    found = wire.Balance.from_json(answer.data).balance
    if found is None:
        raise BatchswapError("the API did not say what the balance is")
    if as_json:
        print_json({"balance": found})
    else:
        print_lines([priced(found)])
    return Exit.DONE


async def _ask_balance(settings: Any) -> Any:
    from batchswap.operations.provider import find_account, opened
    from batchswap.runner.standalone_calls import errands

    async with opened(settings, find_account(settings)) as account, errands(settings, account) as asking:
        return await asking.ask(lambda client: client.balance())


@click.command(cls=options.Command, short_help="the local provider as a server speaking the API")
@options.option("--host", default="127.0.0.1", metavar="HOST", help="address to listen on")
@options.option("--port", type=click.IntRange(0, 65535), default=0, help="port to listen on; 0: any free one")
@options.option("--folder", type=options.FOLDER, default=Path("batchswap-local"), help="its tasks, uploads and results")
@options.option("--rate", type=kinds.RATE, default="none", help="requests per window and key, more are refused")
@options.option("--balance", type=kinds.CREDITS, default="100000", help="of a new account")
@options.option("--fault", multiple=True, metavar="KIND:CHANCE", help="goes wrong on purpose: 429:0.1, slow:0.5:20, …")
@options.flag("--allow-private", help="also fetch from private and link-local addresses, for anyone with the key")
@options.option("--seed", type=int, default=0, help="of the dice that faults are drawn with")
@click.pass_obj
def serve(voice: Voice, /, **asked: Any) -> int:
    """The local provider as a server speaking the API, until Ctrl-C.

    Prints what a shell needs to use it. The key is that of BATCHSWAP_SERVE_KEY; without one, a random key is made.
    Kinds of --fault: 429, 455, 500, 501, 505, lost (the answer to a submit), slow.
    """
    from batchswap.cli.hearing import listen
    from batchswap.operations.provider import require_engine

    listen(voice)
    settings = server_settings(**asked)
    if not settings.keys and not settings.is_loopback:
        raise UsageError(f"listening on {settings.host} lets others in: set a key for them in {SERVE_KEY} first")
    settings.check()
    require_engine()
    return complete(serve_until_stopped(settings, voice))


def server_settings(
    *,
    host: str,
    port: int,
    folder: Path,
    rate: tuple[int, float],
    balance: float,
    fault: tuple[str, ...],
    allow_private: bool,
    seed: int,
) -> "ServerSettings":
    """Raises UsageError for a fault that there is not."""
    from batchswap.local.faults import parse_fault
    from batchswap.local.server.settings import ServerSettings

    key = os.environ.get(SERVE_KEY, "")
    return ServerSettings(
        folder=folder,
        keys=(key,) if key else (),
        host=host,
        port=port,
        rate=None if rate == kinds.NO_RATE else rate,
        balance=balance,
        allow_private=allow_private,
        faults=tuple(parse_fault(text) for text in fault),
        seed=seed,
    )


async def serve_until_stopped(settings: "ServerSettings", voice: Voice, engine: "Engine | None" = None) -> Exit:
    """Comes back after Ctrl-C or SIGTERM, with the exit code that stands for it."""
    import asyncio
    import signal

    from batchswap.cli.printing import print_lines
    from batchswap.local.server.app import start

    ended: asyncio.Queue[Exit] = asyncio.Queue()
    for number, code in ((signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)):
        asyncio.get_running_loop().add_signal_handler(number, ended.put_nowait, code)
    async with start(settings, engine) as server:
        lines = [f"export CRUN_BASE_URL={server.base_url}"]
        if not settings.keys:
            lines.append(f"export CRUN_API_KEY={server.key}")
        print_lines(lines)
        key = f"the key is that of {SERVE_KEY}" if settings.keys else "with a key made for this time"
        voice.say(f"serving {settings.folder} at {server.base_url}, {key}; Ctrl-C ends it, what it accepted stays")
        return await ended.get()
