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
    consent_register: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    wait: bool = False,
    backup: bool = True,
) -> Summary:
    """Enrol the manifests, run all tasks, and resume an earlier run, as `batchswap run` does.

    `api_key` None: the key in CRUN_API_KEY or ~/.crun/.env. `wait`: wait until another run of the ledger ends.
    Raise BatchswapError if the run cannot start; otherwise, the summary has the exit code and the reason.
    """
    _refuse_running_loop("run")
    return asyncio.run(
        run_async(
            manifests,
            settings=settings,
            batch=batch,
            name_template=name_template,
            require_consent=require_consent,
            consent_register=consent_register,
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
    consent_register: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    wait: bool = False,
    backup: bool = True,
) -> Summary:
    """Do the same as `run` in a program with an event loop. Enrolment blocks the loop; the run itself does not."""
    asked = checked(settings or Settings())
    account = find_account(asked, api_key)
    sources = _sources(manifests, batch)
    options = _reading(name_template, consent_register, asked, require_consent=require_consent)
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
    consent_register: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
) -> Plan:
    """Return the plan of a run, as `batchswap plan` shows it. Nothing is charged and nothing is written."""
    _refuse_running_loop("plan")
    return asyncio.run(
        plan_async(
            manifests,
            settings=settings,
            batch=batch,
            name_template=name_template,
            require_consent=require_consent,
            consent_register=consent_register,
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
    consent_register: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
) -> Plan:
    """Do the same as `plan` in a program with an event loop."""
    asked = checked(settings or Settings())
    account = find_account_or_refusal(asked, api_key)
    options = _reading(name_template, consent_register, asked, require_consent=require_consent)
    found = survey(asked, _sources(manifests, batch), options, account, None)
    if found.behind.count:
        _LOG.warning(found.behind.words(asked.db, asked.out))
    return found.with_prices(await find_prices(asked, found.work, account))


def open_ledger(path: str | os.PathLike[str] = "batchswap.db") -> "Ledger":
    """Open a ledger for reading, also during a run. Use it as a context manager. Raise LedgerError."""
    return Ledger(Path(path))


class Ledger:
    """Read-only views of a ledger. Each is an iterator that uses constant memory."""

    def __init__(self, path: Path) -> None:
        with reading(path):
            pass  # raises LedgerError
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
        """Yield the tasks in the order of enrolment; without `states`, in every state."""
        return records.tasks(self._db, [State(state) for state in states], batch)

    def attempts(self, *, batch: str | None = None, key: str | None = None) -> Iterator[AttemptRecord]:
        """Yield the attempts in the order of submission."""
        return records.attempts(self._db, batch, key)

    def events(self, *, batch: str | None = None, key: str | None = None) -> Iterator[EventRecord]:
        """Yield the events in order."""
        return records.events(self._db, batch, key)

    def runs(self) -> Iterator[RunRecord]:
        """Yield the runs, the first one first."""
        return records.runs(self._db)


_DUPLICATES = 'nothing was sent; Settings(duplicates="reuse") uses the existing results for 0 credits, "pay" pays again'


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
        raise UsageError("give at least one manifest, as the path of a file")
    return [Source(path, None, batch) for path in paths]


def _reading(
    name_template: str, register: str | os.PathLike[str] | None, settings: Settings, *, require_consent: bool
) -> Options:
    path = "" if register is None else os.fspath(register)
    return Options(name_template, require_consent, str(settings.out), consent_register=path)


async def _show_nothing(look: Callable[[], RunView]) -> None:
    await asyncio.Event().wait()
