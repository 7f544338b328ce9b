"""A ledger in a folder, a service in memory, and runs on virtual time between them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from batchswap import wire
from batchswap.callbacks import Delivery
from batchswap.events import LogEvent
from batchswap.ledger import queries, transitions
from batchswap.ledger.budgets import Budget
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.file import connection
from batchswap.ledger.group_commit import LedgerWriter
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk
from batchswap.ratelimit.rule import Rate
from batchswap.ratelimit.shared_window import NoWindow, SharedWindow
from batchswap.runner import run as session
from batchswap.runner.background import RunView, Watch
from batchswap.runner.context.callback_inbox import CallbackInbox, Calls
from batchswap.runner.context.ledger import RunLedger
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.run import Account
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.tasks import Model, Row, content_digest
from tests.loop.service import Service, Shelf
from tests.virtual import START, Inline, VirtualClock

ACCOUNT = Account("https://api.example", "https://api.example", "ak_" + "0" * 32)


def rows(count: int, first: int = 0) -> list[Row]:
    found = []
    for i in range(first, first + count):
        video, face = f"https://cdn.example/{i}.mp4", "https://cdn.example/anna.jpg"
        digest = content_digest(Model.VIDEO, video, face)
        found.append(Row(f"t{i}", digest, Model.VIDEO, video, face, f"b/t{i}.mp4", i + 2))
    return found


async def watch_nothing(look: Callable[[], RunView]) -> None:
    await asyncio.Event().wait()


class World:
    """One ledger with its batch `b` of `count` rows."""

    def __init__(self, folder: Path, count: int, **settings: object) -> None:
        self.folder = folder
        self.settings = msgspec.structs.replace(
            Settings(db=folder / "b.db", out=folder, base_url=ACCOUNT.base_url, batches=("b",), min_free=0),
            **settings,
        )
        self.shelf = Shelf()
        self.said: list[str] = []
        self.warned: list[str] = []
        self.events: list[tuple[LogEvent, dict[str, object]]] = []
        self.window = folder / "window.db"
        self.deliveries: asyncio.Queue[Delivery] | None = None
        connection.create(self.settings.db)
        self.enrol(rows(count))

    def enrol(self, found: list[Row]) -> None:
        with closing(connection.connect(self.settings.db, write=True)) as db:
            enrol(db, Stamp(START, None), [Chunk("b", "/", "b.csv", found)], {})

    def report(self, event: LogEvent, text: str, level: int = logging.INFO, **fields: object) -> None:
        """Keep what a run reports."""
        (self.warned if level >= logging.WARNING else self.said).append(text)
        self.events.append((event, fields))

    def clock(self) -> VirtualClock:
        """Return the run's clock."""
        return VirtualClock()

    def executor(self) -> Inline:
        """Return the executor for a run's commits."""
        return Inline()

    def kill(self) -> None:
        """Keep the run from writing to the ledger from now on, as after SIGKILL."""
        self._executor.killed = True

    def deliver(self, ref: str, info: wire.TaskInfo) -> None:
        """Deliver a callback to the receiver, if there is one."""
        if self.deliveries is not None:
            self.deliveries.put_nowait(Delivery(ref, info))

    async def run(
        self,
        service: Service,
        *,
        callbacks: bool = False,
        handle_signals: bool = True,
        key: str = ACCOUNT.key,
        is_idempotent: bool = False,
        watch: Watch = watch_nothing,
        **changes: object,
    ) -> Summary:
        """Run to the end."""
        self.deliveries = asyncio.Queue() if callbacks else None
        self._executor = self.executor()
        settings = msgspec.structs.replace(self.settings, **changes)
        account = msgspec.structs.replace(ACCOUNT, key=key, is_idempotent=is_idempotent)
        clock = self.clock()

        with (
            closing(connection.connect(settings.db, write=True)) as writing,
            closing(connection.connect(settings.db, write=False)) as reading,
        ):
            # Durability is not tested here, and fsync would slow down virtual nights.
            writing.execute("pragma synchronous = off")
            budget = Budget(settings.budget, settings.budget_per_day)
            stamp = transitions.begin_run(
                writing,
                clock.now(),
                provider="crun",
                account=account.owner,
                budget=budget,
                mode=settings.mode,
                batches=settings.batches,
            )
            pacer = self._pacer(settings, clock)
            try:
                calls = None if self.deliveries is None else Calls(lambda ref: f"http://me/{ref}", self.deliveries)
                writer = LedgerWriter(writing, settings.db, self._executor)
                context = RunContext(
                    settings,
                    account,
                    api=service,
                    pacer=pacer,
                    store=self.shelf,
                    ledger=RunLedger(writer, reading, settings.db, clock, stamp.run_id or 0),
                    clock=clock,
                    report=self.report,
                    inbox=CallbackInbox(calls),
                )
                return await session.run(context, watch, handle_signals=handle_signals)
            finally:
                pacer.close()

    def _pacer(self, settings: Settings, clock: VirtualClock) -> SharedWindow | NoWindow:
        if settings.rate_limit is None:
            return NoWindow(clock)
        return SharedWindow(self.window, Rate(settings.rate_limit, settings.rate_period), clock, settings.patience)

    def counts(self) -> dict[str, int]:
        with closing(connection.connect(self.settings.db, write=False)) as db:
            return queries.counts(db)
