"""`batchswap balance`: show the credits on the account."""

import asyncio

from batchswap import wire
from batchswap.cli.command_options import BalanceOptions
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.settings_from_options import build_settings
from batchswap.client import Answer
from batchswap.errors import BatchswapError, Exit
from batchswap.operations.provider import find_account, opened
from batchswap.report.formatting import priced
from batchswap.runner.standalone_calls import free_calls
from batchswap.settings import Settings


def balance(_: Console, options: BalanceOptions) -> int:
    """Print the balance."""
    found = wire.Balance.from_json(asyncio.run(_ask(build_settings(options))).data).balance
    if found is None:
        raise BatchswapError("the API did not return a balance")
    if options.as_json:
        print_json({"balance": found})
    else:
        print_lines([priced(found)])
    return Exit.DONE


async def _ask(settings: Settings) -> Answer:
    async with opened(settings, find_account(settings)) as account, free_calls(settings, account) as calls:
        return await calls.ask(lambda client: client.balance())
