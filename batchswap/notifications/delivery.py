"""Send all messages about the end of a run at the same time, and give up those that take too long."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from batchswap.events import LogEvent, report
from batchswap.network import Routes, routes_of
from batchswap.notifications.apprise_sender import LARGEST, scheme_of, send_message
from batchswap.notifications.http_call import HttpCall, Sent, make, origin_of
from batchswap.notifications.message import Message
from batchswap.notifications.start_ping import StartPing

ALL = 28.0
"""Seconds for all messages. Processes and threads end in the rest of 30 seconds."""
SOON = 2.0
"""Seconds after which the command tells that it is sending messages."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Outgoing(msgspec.Struct, frozen=True):
    """A message to people at `addresses`, and other calls."""

    message: Message
    addresses: tuple[str, ...] = ()
    calls: tuple[HttpCall, ...] = ()
    attachment: Path | None = None
    proxy: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.addresses or self.calls)


async def deliver(delivery: Outgoing, start: StartPing | None = None, line: str = "") -> list[Sent]:
    """Send everything within ALL seconds. Return what became of each.

    A ping of the start that is still under way is sent first. A signal ends the delivery only. `line`: what to show if
    it takes longer than a moment.
    """
    work = [asyncio.ensure_future(_people(delivery))]
    work += [asyncio.ensure_future(_call(each, routes_of(delivery.proxy), start)) for each in delivery.calls]
    with _interruptible(work) as interrupted:
        _, waiting = await asyncio.wait(work, timeout=SOON)
        if waiting and not interrupted and line:
            report(LogEvent.MESSAGES_SENDING, f"{line}; sending messages, for {ALL:g} s at most (Ctrl-C skips them)")
        _, waiting = await asyncio.wait(work, timeout=ALL - SOON)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    wrong = "interrupted" if interrupted else "no answer in time"
    lost = [Sent("message", scheme_of(url), wrong) for url in delivery.addresses]
    found = _results(work[0], lost)
    for task, call in zip(work[1:], delivery.calls, strict=True):
        found += _results(task, [Sent(call.kind, origin_of(call.url), wrong)])
    return ([] if start is None else start.results()) + found


def _results(task: "asyncio.Future[list[Sent]]", lost: list[Sent]) -> list[Sent]:
    """Return what a task returned; `lost` if it was cancelled or failed."""
    if task.cancelled():
        return lost
    if (error := task.exception()) is not None:
        return [msgspec.structs.replace(each, wrong=type(error).__name__) for each in lost]
    return task.result()


async def _people(delivery: Outgoing) -> list[Sent]:
    attachment = delivery.attachment
    if attachment is not None and not (attachment.is_file() and attachment.stat().st_size <= LARGEST):
        attachment = None
    return await send_message(
        delivery.addresses, delivery.message, attachment=attachment, proxy=delivery.proxy, seconds=ALL - 1
    )


async def _call(call: HttpCall, routes: Routes, start: StartPing | None) -> list[Sent]:
    if call.kind == "ping" and start is not None:
        await start.wait()
    return [await make(call, routes)]


@contextmanager
def _interruptible(work: Sequence["asyncio.Future[list[Sent]]"]) -> Iterator[list[int]]:
    """Let signals cancel these tasks within the context. Yield a list that then has the number of the signal."""
    loop, seen = asyncio.get_running_loop(), list[int]()
    numbers = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]

    def end(number: int) -> None:
        seen.append(number)
        for task in work:
            task.cancel()

    for each in numbers:
        loop.add_signal_handler(each, end, each)
    try:
        yield seen
    finally:
        for each in numbers:
            loop.remove_signal_handler(each)
