"""Plan a run, for the command line and for programs. Nothing is charged and nothing is written."""

import tempfile
import time
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from batchswap import manifest, wire
from batchswap.errors import AccountRefused, BatchswapError
from batchswap.ledger import budgets, queries, releases, selections
from batchswap.ledger.enrolment import duplicate_preview, manifest_moves
from batchswap.ledger.enrolment.duplicates import Decision
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.file import connection
from batchswap.ledger.submission_log import entries
from batchswap.ledger.submission_log.budget_day import beginning, calendar_day, so_far
from batchswap.local.server.work.engine_interface import Engine
from batchswap.operations.ledger_access import reading
from batchswap.operations.provider import account_name, opened
from batchswap.report import log_mismatch, plan_survey, stored_files
from batchswap.report import plan as planning
from batchswap.report.plan import Plan, PlanPrices
from batchswap.report.plan_survey import Sample, Work, inputs_of
from batchswap.runner.prepare.detection import assign
from batchswap.runner.prepare.face_check import is_checked
from batchswap.runner.prepare.steps import STEPS, Step, TaskInvalid
from batchswap.runner.run import Account
from batchswap.runner.standalone_calls import FreeCalls, free_calls
from batchswap.runner.task_context import TaskClass
from batchswap.settings import Settings
from batchswap.state_folder import state_folder
from batchswap.tasks import Model, is_url

NO_UPLOAD = "rows with local files are priced when the files are uploaded"
NO_PRICE = "the API returned no estimate"


class Survey(msgspec.Struct, frozen=True):
    """Facts from the manifests, the ledger and the submission log, without prices."""

    settings: Settings
    at: float
    work: Work
    results: stored_files.StoredFilesCheck
    behind: log_mismatch.Behind
    took: dict[Model, float]
    charged: dict[Model, float]
    used_today: float

    def with_prices(self, prices: PlanPrices) -> Plan:
        """Return the plan. A price that the API did not return is taken from the latest tasks."""
        prices = planning.fill_prices(prices, self.work, self.charged)
        return planning.conclude(self.work, prices, self.settings, self.took, self.at, self.used_today)


def survey(
    settings: Settings,
    sources: list[manifest.Source],
    options: manifest.Options,
    asker: Account | AccountRefused | None,
    stdin: BinaryIO | None,
) -> Survey:
    """Compare the manifests with the ledger. `asker` is a result of `find_account_or_refusal`."""
    account = None if isinstance(asker, AccountRefused) else asker
    now, used_today = time.time(), used_by_log(account)
    selection = selections.Selection((), settings.filter, settings.tags, settings.limit)
    with reading(settings.db) if connection.exists(settings.db) else nullcontext() as db:
        gone = {} if db is None else releases.withdrawn(db)
        rows = manifest.read(sources, msgspec.structs.replace(options, withdrawn=gone), stdin)
        chunks = rows if db is None else manifest_moves.checked(db, rows, [source.place for source in sources])
        name = account_name(settings, account)
        lookout = duplicate_preview.Lookout(db, name, hash_file, has_several=len(sources) > 1)
        work = plan_survey.Surveyor(
            db,
            selection,
            has_budget=settings.has_budget,
            looks_at=partial(is_checked, settings),
            lookout=lookout,
            decision=Decision(settings.duplicates),
        ).survey(chunks)
        if db is None:
            return Survey(
                settings, now, work, stored_files.StoredFilesCheck(), log_mismatch.Behind(), {}, {}, used_today
            )
        return Survey(
            settings,
            now,
            work,
            stored_files.look(db, work.batches, settings.out),
            log_mismatch.look(db),
            planning.average_durations(db),
            queries.charged(db),
            max(used_today, budgets.committed_on(db, budgets.local_day(now))),
        )


def used_by_log(account: Account | None) -> float:
    """Return the credits that all ledgers have used today with this key; 0 without a key or a log."""
    now = time.time()
    found = None
    with suppress(BatchswapError, OSError):
        names = entries.logs_in(state_folder()).get(account.owner, []) if account else []
        found = so_far(state_folder(), names) if names else None
    is_today = found is not None and beginning(found.day, calendar_day(now), now) is None
    return found.total if found is not None and is_today else 0.0


async def find_prices(
    settings: Settings, work: Work, asker: Account | AccountRefused | None, engine: Engine | None = None
) -> PlanPrices:
    """Request one estimate per model and duration class. Without a key or an answer, the note has the reason."""
    if not work.samples:
        return PlanPrices()
    if isinstance(asker, AccountRefused):
        return PlanPrices(note=str(asker))
    try:
        return await _ask_prices(settings, work, asker, engine)
    except AccountRefused as error:
        return PlanPrices(note=str(error))
    except BatchswapError as error:
        return PlanPrices(note=f"no price is known: {error}")


async def _ask_prices(settings: Settings, work: Work, account: Account | None, engine: Engine | None) -> PlanPrices:
    each: dict[TaskClass, float | None] = {}
    notes: dict[str, None] = {}
    balance = None
    with tempfile.TemporaryDirectory(prefix="batchswap-plan-") as folder:
        # A separate local server, because a run may be using the folder of the real one.
        apart = settings if account else msgspec.structs.replace(settings, db=Path(folder, "batchswap.db"))
        async with opened(apart, account, engine) as who, free_calls(apart, who) as calls:
            for group, sample in work.samples.items():
                if account is not None and not all(is_url(given) for given in inputs_of(sample.row)):
                    each[group], notes[NO_UPLOAD] = None, None
                    continue
                each[group], left = await _price(calls, sample)
                if each[group] is None:
                    notes[NO_PRICE] = None
                balance = left if left is not None and account is not None else balance
    return PlanPrices(each, balance, "; ".join(notes))


async def _price(calls: FreeCalls, sample: Sample) -> tuple[float | None, float | None]:
    """Return the price of a task like the sample, and the balance; None for what the API does not return."""
    row = sample.row

    async def url_of(given: str) -> str:
        return given if is_url(given) else await calls.upload(Path(sample.folder, given))

    inputs: dict[str, Any] = {row.model.target_field: await url_of(row.target)}
    if Step.DETECT in STEPS[row.model]:
        found = await calls.detect(row.model.media_kind, inputs[row.model.target_field])
        known = tuple((face.id, face.link) for face in found.faces)
        try:
            faces = assign(tuple([(face_id, await url_of(given)) for face_id, given in row.faces]), known)
        except TaskInvalid as invalid:
            raise BatchswapError(invalid.reason) from None
        inputs |= {"detect_id": found.detect_id, "faces": [{"face_id": i, "target": url} for i, url in faces]}
    else:
        inputs["new_face"] = await url_of(row.face)
    answer = await calls.ask(lambda client: client.estimate(wire.CreateTask(row.model, inputs)))
    estimate = wire.Estimate.from_json(answer.data)
    return estimate.estimated_credits, estimate.balance
