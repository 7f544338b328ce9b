"""`batchswap notify --test`: show the message of the last run, and send it to all addresses."""

import asyncio
import uuid
from contextlib import suppress
from typing import Any

from batchswap.cli.console import Console, print_lines
from batchswap.cli.unattended_options import NotifyOptions
from batchswap.errors import Exit, LedgerError, UsageError
from batchswap.ledger import page_queries
from batchswap.notifications import ping, run_end
from batchswap.notifications.channels import Channels, open_channels
from batchswap.notifications.delivery import Outgoing, deliver
from batchswap.notifications.failure import here
from batchswap.notifications.http_call import HttpCall, Sent
from batchswap.notifications.message import Message, as_test, end_message
from batchswap.notifications.webhook import webhook_call
from batchswap.operations.ledger_access import reading


def notify(console: Console, options: NotifyOptions) -> int:
    """Show and send the message. Exit 1 if an address did not take it, and 2 if there is no address."""
    if not options.test:
        raise UsageError("give --test: `batchswap notify --test` shows and sends the message of the last run")
    channels = open_channels(options.notify, "always", options.ping_url, options.webhook_url, options.proxy)
    message, document = last_message(options)
    message = as_test(message)
    print_lines([message.title, "", *message.text.splitlines(), ""])
    if channels.is_empty:
        raise UsageError(
            "no address is set, so nothing was sent: set BATCHSWAP_NOTIFY, BATCHSWAP_PING_URL or BATCHSWAP_WEBHOOK_URL"
            " (see `batchswap guide unattended`)"
        )
    delivery = Outgoing(message, channels.addresses, tuple(calls(channels, message, document)), proxy=channels.proxy)
    results = asyncio.run(deliver(delivery))
    print_lines(shown(each) for each in results)
    return Exit.UNEXPECTED if any(each.wrong for each in results) else Exit.DONE


def last_message(options: NotifyOptions) -> tuple[Message, dict[str, Any]]:
    """Return the message and the document of the last run; a sample if there was none."""
    with suppress(LedgerError), reading(options.db) as db:
        if (run := page_queries.run(db)) is not None:
            return end_message(run_end.gather(db, options.db, run)), run_end.document_of(run)
    return Message("batchswap: no run yet", f"There was no run with this ledger yet.\n\nIn {here()}"), {}


def calls(channels: Channels, message: Message, document: dict[str, Any]) -> list[HttpCall]:
    """Return the ping and the call of the webhook. Healthchecks shows the ping, and does not count it."""
    found = []
    if channels.ping_url:
        call = ping.end_call(channels.ping_url, str(uuid.uuid4()), "log", message, is_well=True)
        found += [] if call is None else [call]
    if channels.webhook_url:
        test = {"test": True, **document}
        found.append(webhook_call(channels.webhook_url, channels.secret, test, str(uuid.uuid4())))
    return found


def shown(sent: Sent) -> str:
    """Return what became of one address."""
    return f"{sent.kind} to {sent.place}: {sent.wrong or 'sent'}"
