"""The pages and updates of a ledger: what a browser gets at first, and what has changed since."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from batchswap.errors import LedgerError
from batchswap.ledger import page_queries, queries
from batchswap.ledger.file import connection
from batchswap.ledger.page_queries import LedgerMark, ReportRow
from batchswap.operations.ledger_access import reading
from batchswap.report.page import charts, facts, render
from batchswap.report.page.charts import TimeLine
from batchswap.report.page.facts import Scope
from batchswap.report.page.render import LivePart, PageForm
from batchswap.report.page.task_cells import PIECE, FileLinks, cells, embedded, pieces
from batchswap.sqlite_errors import in_words
from batchswap.states import State

LARGEST = 2_000
"""Tasks that are in the page itself. The browser loads more of them afterwards."""
MOST_CHANGES = 2_000
"""Changed tasks of one update. If there are more, the browser loads the page again."""
LOOKED_FOR = 1_000
"""Results that are compared with what was stored, at each update."""
DRAWN_EVERY = 60.0
"""Seconds for which a time line is kept."""
WAITING = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>batchswap</title><meta http-equiv="refresh" content="2"></head>
<body><main><h1>There is no ledger yet</h1><p>This page shows it as soon as <code>batchswap run</code> has created
it.</p></main></body></html>
"""
WAITING_POLICY = "default-src 'none'"


class LiveLinks(FileLinks):
    """Names files as they are shown. The browser gets their addresses from the script, by the id of the task."""

    def result(self, row: ReportRow) -> str:
        return quote(row.file) if row.state == State.DONE and row.file is not None and super().result(row) else ""

    def original(self, row: ReportRow) -> str:
        return "original" if super().original(row) else ""


def strip_address(row: ReportRow) -> str:
    return f"pictures/{row.strip}" if row.strip else ""


class Html(msgspec.Struct, frozen=True):
    """A page and its Content-Security-Policy."""

    text: str
    policy: str


class Update(msgspec.Struct, frozen=True):
    """What has changed since a mark. `is_other`: so much that the browser has to load the page again.

    `has_news`: there are new events, which may be about a run and not about a task.
    """

    mark: LedgerMark | None
    tasks: dict[str, Any] | None = None
    is_other: bool = False
    has_news: bool = False


class TimeLineCache:
    """Keeps the time line for a minute, because to draw it takes a second of computing time."""

    def __init__(self) -> None:
        self._drawn: TimeLine | None = None
        self._of: tuple[object, ...] = ()
        self._event = -1
        self._at = 0.0

    def draw(self, db: sqlite3.Connection, batches: Sequence[int], run_id: int | None) -> TimeLine | None:
        """Return the time line of some batches and a run: a new one if that is due."""
        event, now = page_queries.mark(db).event, time.monotonic()
        run = page_queries.run(db, run_id)
        of = (*batches, run_id, None if run is None else run.ended_at)  # the end of a run is drawn at once
        is_due = event != self._event and now - self._at >= DRAWN_EVERY
        if self._drawn is None or self._of != of or is_due:
            self._drawn = charts.gather(db, batches, run_id)
            self._of, self._event, self._at = of, event, now
        return self._drawn


class LivePages:
    """Reads one ledger, which need not exist yet. The methods block, and may be called from any thread."""

    def __init__(self, ledger: Path, out: Path) -> None:
        self.ledger, self._out, self._links = ledger, out, LiveLinks(out, out)
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._time_line = TimeLineCache()

    def close(self) -> None:
        with self._lock:
            self._leave()

    def page(self) -> Html:
        """Return the whole page as it is now."""
        with self._reading() as db:
            if db is None:
                return Html(WAITING, WAITING_POLICY)
            scope, mark = self._scope(db), page_queries.mark(db)
            total = sum(queries.counts_in(db, scope.batches).values())
            found = facts.gather(db, scope, strip_address, None, self._time_line.draw, LOOKED_FOR)
            script = files("batchswap.watch").joinpath("live.js").read_text(encoding="utf-8")
            live = LivePart(script, {"mark": msgspec.to_builtins(mark)})
            if total > LARGEST:
                firsts = page_queries.task_ids(db, scope.ids, PIECE)
                form = PageForm(total, "all", tuple(f"data/{n}-{first}.js" for n, first in enumerate(firsts)), live)
                parts = render.page(found, scope, form)
            else:
                form = PageForm(total, "all", (), live)
                parts = render.page(found, scope, form, pieces(self._cells(page_queries.tasks(db, scope.ids))))
            return Html("".join(parts), render.context(found, scope, form)["policy"])

    def piece(self, number: int, first: int) -> str:
        """Return the script with a piece of the tasks, from this id on."""
        with self._reading() as db:
            rows = () if db is None else page_queries.tasks(db, self._scope(db).ids, first=first, most=PIECE)
            found: dict[str, Any] = next(pieces(self._cells(rows)), {"names": [], "rows": []})
            return f"batchswap.piece({number}, {embedded(found)});\n"

    def update(self, since: LedgerMark | None) -> Update:
        """Return the tasks that have changed. The time depends on their number only."""
        with self._reading() as db:
            mark = None if db is None else page_queries.mark(db)
            if db is None or mark is None or since is None:
                return Update(mark, is_other=mark != since)
            if (mark.run, mark.task, mark.readings) != (since.run, since.task, since.readings):
                return Update(mark, is_other=True)
            if mark.event <= since.event:
                return Update(mark, is_other=mark.event < since.event)
            ids = page_queries.changed(db, self._scope(db).ids, since.event, mark.event, MOST_CHANGES + 1)
            if len(ids) > MOST_CHANGES:
                return Update(mark, is_other=True)
            rows = (row for row in (page_queries.task(db, task_id) for task_id in ids) if row is not None)
            return Update(mark, next(pieces(self._cells(rows)), None), has_news=True)

    def sections(self) -> dict[str, str]:
        """Return the HTML of the sections by name."""
        with self._reading() as db:
            if db is None:
                return {}
            scope = self._scope(db)
            total = sum(queries.counts_in(db, scope.batches).values())
            found = facts.gather(db, scope, strip_address, None, self._time_line.draw, LOOKED_FOR)
            names = set(render.SECTIONS) - {"tasks", "strips"}  # the script keeps these up to date
            html = render.sections(found, scope, PageForm(total, "all", live=LivePart("", {})))
            return {name: text for name, text in html.items() if name in names}

    def file(self, task_id: int) -> ReportRow | None:
        """Return the task that names a file."""
        with self._reading() as db:
            return None if db is None else page_queries.task(db, task_id)

    def _cells(self, rows: Any) -> Iterator[list[Any]]:
        return (cells(row, self._links, strip_address(row)) for row in rows)

    def _scope(self, db: sqlite3.Connection) -> Scope:
        return facts.scope_of(db, self.ledger, (), "last", self._out)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the connection in one transaction; None if there is no ledger now."""
        with self._lock:
            try:
                self._follow()
            except OSError as error:
                raise LedgerError(f"{self.ledger}: cannot be read ({error.strerror})") from error
            if self._db is None:
                yield None
                return
            with in_words(self.ledger, in_use=True):
                self._db.execute("begin")
                try:
                    yield self._db
                finally:
                    self._db.execute("rollback")

    def _follow(self) -> None:
        """Connect to the ledger that has the name now."""
        found = None
        if connection.exists(self.ledger):
            seen = self.ledger.stat()
            found = (seen.st_dev, seen.st_ino)
        if found != self._file:
            self._leave()
            if found is not None:
                self._db = self._open.enter_context(reading(self.ledger))
                self._file = found

    def _leave(self) -> None:
        self._db = self._file = None
        self._open.close()
