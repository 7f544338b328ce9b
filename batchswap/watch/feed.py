"""Look at the ledger once a second, and send what has changed to every open page as server-sent events."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from batchswap.errors import BatchswapError
from batchswap.ledger.page_queries import LedgerMark
from batchswap.report.formatting import safe
from batchswap.watch.live_pages import LivePages

EVERY = 1.0
"""Seconds between two looks."""
LEAST, SHARE, MOST = 2.0, 20.0, 15.0
"""The sections are made again after SHARE times the time that it took, but after LEAST to MOST seconds."""
ALIVE = 15.0
"""Seconds after which a page without news gets an empty line."""
BEHIND = 64
"""Messages that may wait for a page. A slower one is disconnected; it connects again and catches up."""

log = logging.getLogger(__name__)


def message(event: str, data: Any, mark: LedgerMark | None = None) -> bytes:
    """Return a server-sent event. A browser that connects again sends the mark back."""
    name = "" if mark is None else f"id: {mark_text(mark)}\n"
    return f"{name}event: {event}\ndata: {msgspec.json.encode(data).decode()}\n\n".encode()


def mark_text(mark: LedgerMark) -> str:
    return "-".join(map(str, msgspec.structs.astuple(mark)))


def parse_mark(text: str) -> LedgerMark | None:
    """Return the mark in a text; None for anything else."""
    parts = text.split("-")
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        return None
    return LedgerMark(*map(int, parts))


class Feed:
    """Sends changes to the pages that are open. Without any, it does nothing."""

    def __init__(self, pages: LivePages) -> None:
        self._pages = pages
        self._open: set[asyncio.Queue[bytes | None]] = set()
        self._someone = asyncio.Event()
        self._mark: LedgerMark | None = None
        self._sections: dict[str, str] = {}
        self._is_stale = False
        self._due_at = 0.0

    @property
    def count(self) -> int:
        """Return the number of open pages."""
        return len(self._open)

    async def follow(self, since: LedgerMark | None) -> AsyncIterator[bytes]:
        """Yield what has changed since the page was made, then everything that changes, until the page is left."""
        mine: asyncio.Queue[bytes | None] = asyncio.Queue(BEHIND)
        is_first = not self._open
        self._open.add(mine)
        try:
            yield await self._missed(since, is_first=is_first)
            self._sections, self._is_stale = {}, True
            self._someone.set()
            while True:
                try:
                    async with asyncio.timeout(ALIVE):
                        found = await mine.get()
                except TimeoutError:
                    found = b":\n\n"
                if found is None:
                    return
                yield found
        finally:
            self._open.discard(mine)
            if not self._open:
                self._someone.clear()

    async def _missed(self, since: LedgerMark | None, *, is_first: bool) -> bytes:
        """Return what a page missed between being made and being connected."""
        try:
            missed = await asyncio.to_thread(self._pages.update, since)
        except BatchswapError as error:
            return message("trouble", {"words": safe(str(error))})
        if is_first:
            self._mark = missed.mark
        if missed.is_other:
            return message("reload", {})
        return b":\n\n" if missed.tasks is None else message("update", missed.tasks, missed.mark)

    async def run(self) -> None:
        """Look at the ledger while any page is open."""
        while True:
            await self._someone.wait()
            try:
                await self._look()
            except BatchswapError as error:
                self._send(message("trouble", {"words": safe(str(error))}))
            except Exception:  # a bug must not end the feed
                log.exception("the live page cannot be updated")
            await asyncio.sleep(EVERY)

    async def _look(self) -> None:
        found = await asyncio.to_thread(self._pages.update, self._mark)
        self._mark = found.mark
        if found.is_other:
            self._send(message("reload", {}))
            return
        if found.tasks is not None:
            self._send(message("update", found.tasks, found.mark))
        self._is_stale |= found.has_news
        if self._is_stale and time.monotonic() >= self._due_at:
            self._is_stale = False
            await self._send_sections()

    async def _send_sections(self) -> None:
        began = time.monotonic()
        made = await asyncio.to_thread(self._pages.sections)
        self._due_at = time.monotonic() + min(MOST, max(LEAST, SHARE * (time.monotonic() - began)))
        new = {name: html for name, html in made.items() if self._sections.get(name) != html}
        self._sections = made
        if new:
            self._send(message("sections", new))

    def _send(self, text: bytes) -> None:
        for each in list(self._open):
            try:
                each.put_nowait(text)
            except asyncio.QueueFull:
                self._disconnect(each)

    def end(self) -> None:
        """Disconnect every page."""
        for each in list(self._open):
            self._disconnect(each)

    def _disconnect(self, page: asyncio.Queue[bytes | None]) -> None:
        self._open.discard(page)
        while not page.empty():
            page.get_nowait()
        page.put_nowait(None)
