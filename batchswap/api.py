"""The Python API: run and plan batches, and read their ledger. docs/python-api.md describes it."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from batchswap.errors import UsageError
from batchswap.events import RUN
from batchswap.ledger import records
from batchswap.ledger.enrolment.duplicates import DuplicateRows
from batchswap.ledger.file import connection
from batchswap.ledger.records import AttemptRecord, EventRecord, RunRecord, TaskRecord
from batchswap.manifest import STDIN, Options, Source
from batchswap.manifest.outputs import DEFAULT_TEMPLATE
from batchswap.operations.ledger_access import reading
from batchswap.operations.provider import find_account, find_account_or_refusal
from batchswap.operations.run_steps import back_up, enrolled_in, work_off_at
from batchswap.operations.settings_check import checked
from batchswap.operations.survey import find_prices, survey
from batchswap.report.duplicate_rows import named
from batchswap.report.plan import Plan
from batchswap.runner.background import RunView
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.states import State

Manifests = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_LOG = logging.getLogger(RUN)
logging.getLogger("batchswap").addHandler(logging.NullHandler())


def run(
    manifests: Manifests,
    *,
    settings: Settings | None = None,
    batch: str | None = None,
    name_template: str = DEFAULT_TEMPLATE,
    require_consent: bool = False,
    api_key: str | None = None,
    wait: bool = False,
    backup: bool = True,
) -> Summary:
    """Enrol the manifests, work everything off, and resume whatever an earlier run left, as `batchswap run` does.

    `api_key` None: the key of the environment or of ~/.crun/.env. `wait`: until another run of the ledger ends.
    Raises BatchswapError; how a run ended that began is in the summary.
    """
    _refuse_running_loop("run")
    return asyncio.run(
        run_async(
            manifests,
            settings=settings,
            batch=batch,
            name_template=name_template,
            require_consent=require_consent,
            api_key=api_key,
            wait=wait,
            backup=backup,
        )
    )


async def run_async(
    manifests: Manifests,
    *,
    settings: Settings | None = None,
    batch: str | None = None,
    name_template: str = DEFAULT_TEMPLATE,
    require_consent: bool = False,
    api_key: str | None = None,
    wait: bool = False,
    backup: bool = True,
) -> Summary:
    """As `run`, for a program that has an event loop. Enrolment blocks the loop; the run itself does not."""
    asked = checked(settings or Settings())
    account = find_account(asked, api_key)
    sources, options = _sources(manifests, batch), Options(name_template, require_consent, str(asked.out))
    try:
        with enrolled_in(asked, sources, options, account, stdin=None, wait=wait) as held:
            summary = await work_off_at(held.settings, account, watch=_show_nothing, handle_signals=False)
    except DuplicateRows as error:
        raise UsageError("\n".join([str(error), *named(error.found), _DUPLICATES])) from None
    if backup:
        back_up(summary, held.enrolled, asked.min_free)
    return summary


def plan(
    manifests: Manifests,
    *,
    settings: Settings | None = None,
    batch: str | None = None,
    name_template: str = DEFAULT_TEMPLATE,
    require_consent: bool = False,
    api_key: str | None = None,
) -> Plan:
    """Return what a run would do, cost and take, as `batchswap plan` does. Nothing is charged, nothing is written."""
    _refuse_running_loop("plan")
    return asyncio.run(
        plan_async(
            manifests,
            settings=settings,
            batch=batch,
            name_template=name_template,
            require_consent=require_consent,
            api_key=api_key,
        )
    )


async def plan_async(
    manifests: Manifests,
    *,
    settings: Settings | None = None,
    batch: str | None = None,
    name_template: str = DEFAULT_TEMPLATE,
    require_consent: bool = False,
    api_key: str | None = None,
) -> Plan:
    """As `plan`, for a program that has an event loop."""
    asked = checked(settings or Settings())
    account = find_account_or_refusal(asked, api_key)
    options = Options(name_template, require_consent, str(asked.out))
    found = survey(asked, _sources(manifests, batch), options, account, None)
    if found.behind.count:
        _LOG.warning(found.behind.words(asked.db, asked.out))
    return found.with_prices(await find_prices(asked, found.work, account))


def open_ledger(path: str | os.PathLike[str] = "batchswap.db") -> "Ledger":
    """Open a ledger to read, also during a run. Use it as a context manager. Raises LedgerError."""
    return Ledger(Path(path))


class Ledger:
    """Read-only views of a ledger. Each is an iterator that reads as it goes, in constant memory."""

    def __init__(self, path: Path) -> None:
        with reading(path):
            pass  # raises in words
        self._db = connection.connect(path, write=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Iterators that were not exhausted raise when they are used again."""
        self._db.close()

    def tasks(self, *states: State | str, batch: str | None = None) -> Iterator[TaskRecord]:
        """Tasks in the order of their enrolment; without `states`, in every state."""
        return records.tasks(self._db, [State(state) for state in states], batch)

    def attempts(self, *, batch: str | None = None, key: str | None = None) -> Iterator[AttemptRecord]:
        """Submits, in their order."""
        return records.attempts(self._db, batch, key)

    def events(self, *, batch: str | None = None, key: str | None = None) -> Iterator[EventRecord]:
        """What happened, in order."""
        return records.events(self._db, batch, key)

    def runs(self) -> Iterator[RunRecord]:
        """Runs, the first one first."""
        return records.runs(self._db)


_DUPLICATES = (
    'nothing was sent; Settings(duplicates="reuse") takes the results that are there for 0 credits, "pay" pays again'
)


def _refuse_running_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"an event loop is running here, as in a notebook: use `await batchswap.{name}_async(…)`")


def _sources(manifests: Manifests, batch: str | None) -> list[Source]:
    given = [manifests] if isinstance(manifests, str | os.PathLike) else manifests
    paths = list(dict.fromkeys(os.fspath(each) for each in given))
    if not paths or STDIN in paths:
        raise UsageError("name at least one manifest; it must be a file")
    return [Source(path, None, batch) for path in paths]


async def _show_nothing(look: Callable[[], RunView]) -> None:
    await asyncio.Event().wait()
