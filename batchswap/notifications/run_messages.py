"""All messages about one run, from its start to its end. They never raise, and never change its exit code."""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchswap.errors import BatchswapError
from batchswap.events import LogEvent, report
from batchswap.network import routes_of
from batchswap.notifications import failure, ping, run_end
from batchswap.notifications.alerts import Alerts
from batchswap.notifications.channels import Channels
from batchswap.notifications.delivery import Outgoing, deliver
from batchswap.notifications.failure import failure_words, here
from batchswap.notifications.message import Message, end_message, failure_message, skip_message
from batchswap.notifications.occasion import is_due, is_well
from batchswap.notifications.run_end import RunEnd
from batchswap.notifications.start_ping import StartPing
from batchswap.notifications.webhook import webhook_call
from batchswap.operations.ledger_access import reading
from batchswap.report.formatting import safe
from batchswap.runner.background import Watch, together
from batchswap.settings import Mode


class RunMessages:
    """`resume`: the command line of the run, without secrets; "" if it may have names. `mode`: that of its settings."""

    def __init__(
        self, channels: Channels, ledger: Path, *, manifests: tuple[str, ...] = (), mode: Mode = "run", resume: str = ""
    ) -> None:
        self._channels, self._ledger, self._mode, self._resume = channels, ledger, mode, resume
        self._id, self._names = str(uuid.uuid4()), tuple(Path(safe(each)).name for each in manifests)
        self._start: StartPing | None = None
        self._alerts = Alerts(channels, ledger)

    def begin(self, watch: Watch, batches: tuple[str, ...]) -> Watch:
        """Send the ping of the start. Return the watch, with messages during the run. Ticks have none."""
        if self._mode != "run":
            failure.forget(self._ledger)
        call = ping.start_call(self._channels.ping_url, self._id) if self._channels.ping_url else None
        if call is not None:
            self._start = StartPing(call, routes_of(self._channels.proxy))
        if not self._channels.addresses or self._mode != "run":
            return watch
        self._alerts.listen(batches)
        return together(watch, self._alerts.watch)

    def end(self, document: dict[str, Any], ledger: Path, line: str, page: Path | None) -> None:
        """Send the messages about the end of a run. `line`: its last line. `page`: its report."""

        def work() -> None:
            end = self._read(ledger) or run_end.from_document(document, self._mode, self._resume)
            code = int(document["exit_code"])
            message = end_message(end, f"The report: {page.absolute()}" if page else "")
            is_wanted = is_due(end, self._channels.notify_on)
            self._send(message, document, code, is_wanted=is_wanted, line=line, page=page)

        self._attempt(work)

    def fail(self, code: int, words: str, error: BaseException) -> None:
        """Send the messages about a run that could not start, or that an error ended."""

        def work() -> None:
            public = failure_words(error)
            is_wanted = self._mode == "run" or failure.is_news(self._ledger, f"{code} {public}")
            message = failure_message(self._names, code, public, self._resume, here())
            lines = [*map(safe, words.splitlines())]
            line = next(iter(lines), "")
            self._send(message, {"exit_code": code, "reason": "\n".join(lines)}, code, is_wanted=is_wanted, line=line)

        self._attempt(work)

    def skip(self, document: dict[str, Any], words: str) -> None:
        """Send the messages about a run that did nothing, because another one is in progress.

        It is no sign of life: a run that hangs would never be noticed.
        """
        is_wanted = self._channels.notify_on == "always" and self._mode == "run"
        self._attempt(
            lambda: self._send(
                skip_message(self._names, words, here()), document, None, is_wanted=is_wanted, line=words
            )
        )

    def _read(self, ledger: Path) -> RunEnd | None:
        try:
            with reading(ledger) as db:
                run = run_end.own_run(db)
                return None if run is None else run_end.gather(db, ledger, run, self._resume)
        except (BatchswapError, sqlite3.Error, OSError):
            return None

    def _send(
        self,
        message: Message,
        document: dict[str, Any],
        code: int | None,
        *,
        is_wanted: bool = True,
        line: str = "",
        page: Path | None = None,
    ) -> None:
        """Send a message. `code`: the exit code; None for a run that was skipped."""
        channels, calls = self._channels, []
        if channels.ping_url:
            well = code is not None and is_well(code, self._mode)
            signal = "log" if code is None else "0" if well else str(code)
            call = ping.end_call(channels.ping_url, self._id, signal, message, is_well=well)
            calls += [] if call is None else [call]
        if channels.webhook_url:
            calls.append(webhook_call(channels.webhook_url, channels.secret, document, str(uuid.uuid4())))
        addresses = channels.addresses if is_wanted else ()
        delivery = Outgoing(message, addresses, tuple(calls), attachment=page, proxy=channels.proxy)
        for sent in asyncio.run(deliver(delivery, self._start, line)):
            if sent.wrong:
                report(LogEvent.MESSAGE_FAILED, sent.words, logging.WARNING)

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do this, and turn whatever is raised into a warning: the run is complete."""
        self._alerts.end()
        if self._channels.is_empty:
            return
        try:
            work()
        except KeyboardInterrupt:
            report(LogEvent.MESSAGE_FAILED, "interrupted: messages about this run may be missing", logging.WARNING)
        except Exception as error:  # noqa: BLE001 - the outcome of the run is more important
            words = f"messages about this run may be missing ({type(error).__name__})"
            report(LogEvent.MESSAGE_FAILED, words, logging.WARNING)
