"""The process that sends messages with Apprise: `python -m batchswap.notifications.apprise_child`.

Apprise's plugins block, each with its own time-outs, so they run in a process that can be killed. It reads one order
(JSON) from standard input, and writes one line for each address when it is known whether the message was sent.
"""

import json
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

TRIES = 3
LONGEST = 60
"""Seconds after which the process ends by itself, if the one that started it was killed."""
_PAUSE = 0.5
_LOST = "connection error"
"""Words with which the services of Apprise say that there was no answer, or that a mail server refused the login."""
UNREACHED = "the connection failed: check the host, the port, the login, the proxy and the certificates"
_STATUS = re.compile(r"\berror=(\d{3})\b")


class Reasons(logging.Handler):
    """Keeps the reason for the last failure of each thread. The rest of what Apprise logs may have secrets."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the status that the record names, or that there was no connection."""
        text = record.getMessage()
        if match := _STATUS.search(text):
            self.found[threading.get_ident()] = f"it answered {match[1]}"
        elif _LOST in text.lower():
            self.found[threading.get_ident()] = UNREACHED


class Dispatch:
    """A message and the addresses to which it is sent."""

    def __init__(self, order: dict[str, Any]) -> None:
        import apprise  # noqa: PLC0415 - this process alone needs it

        self._apprise, self._order = apprise, order
        # Without a time limit of its own, Apprise sends in the thread that `Reasons` knows.
        self._asset = apprise.AppriseAsset(
            app_id="batchswap",
            app_desc="batchswap",
            service_timeout=0,
            http_redirects=False,
            storage_mode="memory",
        )
        self._reasons = Reasons()
        logger = logging.getLogger("apprise")
        logger.handlers, logger.propagate = [self._reasons], False
        self._output = threading.Lock()

    def carry_out(self) -> None:
        """Send to all addresses at the same time, or only look whether they are valid."""
        work = self._check if self._order["check"] else self._send
        threads = [threading.Thread(target=work, args=each) for each in enumerate(self._order["urls"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _check(self, number: int, url: str) -> None:
        self._tell(number, "" if self._service(url) is not None else "is not an address of Apprise")

    def _service(self, url: str) -> Any:
        try:
            return self._apprise.Apprise.instantiate(url, asset=self._asset, suppress_exceptions=True)
        except Exception:  # noqa: BLE001 - a plugin's bug; the address is not usable
            return None

    def _send(self, number: int, url: str) -> None:
        """Try several times. Only the first try has the attachment, which a service may not take."""
        attachment = self._order.get("attachment")
        words = ""
        for turn in range(TRIES):
            box: list[str] = []
            one = threading.Thread(target=self._try, args=(url, attachment if turn == 0 else None, box), daemon=True)
            one.start()
            one.join(self._order["seconds"])
            words = box[0] if box else "no answer"
            if not words:
                break
            threading.Event().wait(_PAUSE)
        self._tell(number, words)

    def _try(self, url: str, attachment: str | None, box: list[str]) -> None:
        service = self._service(url)
        if service is None:
            box.append("is not an address of Apprise")
            return
        sender = self._apprise.Apprise(asset=self._asset)
        sender.add(service)
        kind = self._apprise.NotifyType.WARNING if self._order["is_bad"] else self._apprise.NotifyType.SUCCESS
        text = self._order["text"]
        if self._order.get("attachment") and attachment is None:
            text += f"\n\nThe report could not be attached: {Path(self._order['attachment']).name}"
        try:
            is_sent = sender.notify(
                title=self._order["title"], body=text, notify_type=kind, body_format="text", attach=attachment
            )
        except Exception as error:  # noqa: BLE001 - a plugin's bug is a failure to send
            box.append(type(error).__name__)
            return
        reason = self._reasons.found.pop(threading.get_ident(), "it did not take the message")
        box.append("" if is_sent else reason)

    def _tell(self, number: int, words: str) -> None:
        with self._output:
            sys.stdout.write(json.dumps([number, words]) + "\n")
            sys.stdout.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.alarm(LONGEST)
    Dispatch(json.load(sys.stdin)).carry_out()
    os._exit(0)  # without waiting for threads that hang


if __name__ == "__main__":
    main()
