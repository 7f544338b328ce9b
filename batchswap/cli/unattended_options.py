"""Options of runs that no one watches: messages about their end, and metrics."""

from pathlib import Path
from typing import Literal

import click

from batchswap.cli.command import CommandOptions, flag, option
from batchswap.cli.options import FILE, LedgerOptions, ProxyOptions


class AddressOptions(CommandOptions):
    heading = "Unattended"
    notify: tuple[str, ...] = option(
        multiple=True,
        default=(),
        show_default=False,
        metavar="URL",
        help="send a message at the end to this address (such as mailto://, slack://, tgram://, ntfy://); repeatable",
    )
    ping_url: str | None = option(metavar="URL", help="dead man's switch that is pinged at the start and the end")
    webhook_url: str | None = option(
        metavar="URL", help="call this URL at the end, with the document of --json, signed"
    )


class MessageOptions(AddressOptions):
    heading = "Unattended"
    notify_on: Literal["always", "trouble", "never"] = option(
        type=click.Choice(["always", "trouble", "never"]),
        default="trouble",
        help="when to send it; trouble: an exit code other than 0, or anything that needs you",
    )


class MetricsOptions(CommandOptions):
    heading = "Unattended"
    metrics_file: Path | None = option(
        type=FILE, metavar="FILE.prom", help="write metrics for Prometheus, every minute and at the end"
    )


class NotifyOptions(LedgerOptions, ProxyOptions, AddressOptions):
    """Show the message that the last run of the ledger would send, and send it to all addresses, marked as a test.

    The addresses are those of --notify, --ping-url and --webhook-url, which `batchswap run` takes from the same places:
    the environment or ~/.config/batchswap/config.yaml. The signatures of webhook calls need BATCHSWAP_WEBHOOK_SECRET.
    """

    command, summary = "notify", "show and send the message that a run would send"
    package = "batchswap.cli.commands.unattended"
    test: bool = flag(help="show and send the message; required")
