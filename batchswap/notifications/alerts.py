"""Messages during a run: listen to its events, and send what the rules say."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from batchswap.events import RUN, LogEvent, RecordHandler, report
from batchswap.notifications.alert_rules import AlertRules
from batchswap.notifications.apprise_sender import send_message
from batchswap.notifications.channels import Channels
from batchswap.notifications.message import alert_message
from batchswap.report.next_commands import command
from batchswap.runner.background import RunView

LOOK_EVERY = 1.0
SECONDS = 30.0
"""Seconds in which a message is sent, or given up."""


class Alerts:
    """A watch of a run, which hears its events from `listen` to `end`."""

    def __init__(self, channels: Channels, ledger: Path, rules: AlertRules | None = None) -> None:
        self._channels, self._ledger, self._rules = channels, ledger, rules or AlertRules()
        self._handler = RecordHandler(self._note)
        self._handler.setLevel(logging.INFO)
        self._batches: tuple[str, ...] = ()

    def listen(self, batches: tuple[str, ...]) -> None:
        """Begin to hear the events of the run of these batches."""
        self._batches = batches
        logging.getLogger(RUN).addHandler(self._handler)

    def end(self) -> None:
        """Hear no more events."""
        logging.getLogger(RUN).removeHandler(self._handler)

    def _note(self, _: str, event: str, words: str, fields: dict[str, object]) -> None:
        self._rules.note(event, words, str(fields.get("cause", "")), time.monotonic())

    async def watch(self, look: Callable[[], RunView]) -> None:
        """Send messages until cancelled. A message that is under way then is given up: the run sends another one."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for each in self._rules.take(time.monotonic()):
                status = command("status", self._ledger)
                message = alert_message(each.cause, each.words, self._batches, look().counts, status)
                with suppress(OSError):
                    addresses, proxy = self._channels.addresses, self._channels.proxy
                    for sent in await send_message(addresses, message, proxy=proxy, seconds=SECONDS):
                        if sent.wrong:
                            report(LogEvent.MESSAGE_FAILED, sent.words, logging.WARNING)
