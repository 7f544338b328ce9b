"""`batchswap plan`: what a run would do. Nothing is charged, and nothing is written."""

import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import AccountRefused, BatchswapError, Exit

if TYPE_CHECKING:
    from batchswap.local.server.work.engine_interface import Engine
    from batchswap.report.plan import Prices
    from batchswap.report.plan_survey import Sample, Work
    from batchswap.runner.run import Account
    from batchswap.runner.standalone_calls import Errands
    from batchswap.runner.task_context import TaskClass
    from batchswap.settings import Settings

NO_UPLOAD = "inputs that are files are priced when they are uploaded"
NO_PRICE = "the API gives no estimate"


@click.command(cls=options.Command, short_help="what a run would do; nothing is charged")
@options.MANIFESTS
@options.WORKING
@options.JSON
@click.pass_obj
def plan(voice: Voice, /, manifests: tuple[str, ...], **asked: Any) -> int:
    """What a run would do: new, changed, unfinished, done, orphaned rows; estimated credits, requests and time.

    Nothing is charged and nothing is written.
    """
    return show_plan(voice, manifests, asked)


def show_plan(voice: Voice, /, manifests: tuple[str, ...], asked: dict[str, Any]) -> int:
    """`plan`, and `run --dry-run`."""
    from batchswap import manifest
    from batchswap.cli.hearing import listen
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.cli.settings_from_options import build_reading, build_settings, build_sources, run_command
    from batchswap.ledger import budgets, selections
    from batchswap.ledger.enrolment import duplicate_preview, manifest_moves
    from batchswap.ledger.enrolment.duplicates import Decision
    from batchswap.ledger.file import connection
    from batchswap.operations.ledger_access import reading
    from batchswap.operations.provider import account_name, find_account
    from batchswap.report import log_mismatch, plan_survey, stored_files
    from batchswap.report import plan as planning
    from batchswap.report.duplicate_rows import refusal
    from batchswap.runner.prepare.uploads import hash_file

    listen(voice)
    settings = build_settings(**asked)
    account = None
    with suppress(AccountRefused):  # a plan without prices is one, too; a base URL that no run takes is a mistake
        account = find_account(settings)
    stdin = None if sys.stdin is None else sys.stdin.buffer
    sources = build_sources(manifests, **asked)
    rows = manifest.read(sources, build_reading(**asked), stdin)
    now, used_today, lag = time.time(), used_by_log(account), log_mismatch.Behind()
    selection = selections.Selection((), settings.filter, settings.tags, settings.limit)
    with reading(settings.db) if connection.exists(settings.db) else nullcontext() as db:
        chunks = rows if db is None else manifest_moves.checked(db, rows, [source.place for source in sources])
        lookout = duplicate_preview.Lookout(
            db, account_name(settings, account), hash_file, has_several=len(sources) > 1
        )
        decision = Decision(settings.duplicates)
        surveyor = plan_survey.Surveyor(
            db, selection, has_budget=settings.has_budget, lookout=lookout, decision=decision
        )
        work = surveyor.survey(chunks)
        disk = stored_files.Look() if db is None else stored_files.look(db, work.batches, settings.out)
        took = planning.average_durations(db) if db is not None else {}
        prices = find_prices(settings, work)
        if db is not None:
            prices = planning.filled_up(prices, work, db)
            used_today = max(used_today, budgets.committed_on(db, budgets.local_day(now)))
            lag = log_mismatch.look(db)
    found = planning.conclude(work, prices, settings, took, now, used_today)
    if asked["as_json"]:
        if work.kept:
            voice.say(work.kept)
        print_json({**found.to_json(), "behind": lag.count, "results": disk.to_json()})
    else:
        print_lines(found.to_lines())
        print_lines(stored_files.lines(disk, settings.db, settings.out))
    if lag.count:
        voice.say(lag.words(settings.db, settings.out), "warning")
    if work.duplicates and decision is Decision.REFUSE:
        voice.fail(refusal(work.duplicates, settings.db, run_command(settings.db, manifests, asked)))
        return Exit.USAGE
    return Exit.DONE


def used_by_log(account: "Account | None") -> float:
    """Credits that all ledgers have used of the key's day so far; 0 without a key or a log."""
    from batchswap.ledger.submission_log import entries
    from batchswap.ledger.submission_log.day_total import so_far
    from batchswap.ledger.submission_log.days import beginning, calendar_day
    from batchswap.state_folder import state_folder

    now = time.time()
    try:
        names = entries.logs_in(state_folder()).get(account.owner, []) if account else []
        found = so_far(state_folder(), names) if names else None
    except (BatchswapError, OSError):
        return 0.0
    is_today = found is not None and beginning(found.day, calendar_day(now), now) is None
    return found.total if found is not None and is_today else 0.0


def find_prices(settings: "Settings", work: "Work", engine: "Engine | None" = None) -> "Prices":
    """EstimateTask once per model and duration class. Where there is no key or no answer, it is said why."""
    from batchswap.report.plan import Prices

    if not work.samples:
        return Prices()
    try:
        return complete(_ask_prices(settings, work, engine))
    except AccountRefused as error:
        return Prices(note=str(error))
    except BatchswapError as error:
        return Prices(note=f"no price could be had: {error}")


async def _ask_prices(settings: "Settings", work: "Work", engine: "Engine | None") -> "Prices":
    import msgspec

    from batchswap.operations.provider import find_account, opened
    from batchswap.report.plan import Prices
    from batchswap.report.plan_survey import inputs_of
    from batchswap.runner.standalone_calls import errands
    from batchswap.tasks import is_url

    account = find_account(settings)
    each: dict[TaskClass, float | None] = {}
    notes: dict[str, None] = {}
    balance = None
    with tempfile.TemporaryDirectory(prefix="batchswap-plan-") as folder:
        # A local server of its own: the real one's folder is not touched, and may be in use by a run.
        apart = settings if account else msgspec.structs.replace(settings, db=Path(folder, "batchswap.db"))
        async with opened(apart, account, engine) as who, errands(apart, who) as asking:
            for group, sample in work.samples.items():
                if account is not None and not all(is_url(given) for given in inputs_of(sample.row)):
                    each[group], notes[NO_UPLOAD] = None, None
                    continue
                each[group], told = await _price(asking, sample)
                if each[group] is None:
                    notes[NO_PRICE] = None
                balance = told if told is not None and account is not None else balance
    return Prices(each, balance, "; ".join(notes))


async def _price(asking: "Errands", sample: "Sample") -> tuple[float | None, float | None]:
    """Credits for a task like the sample, and the balance; None where the API does not say."""
    from batchswap import wire
    from batchswap.runner.prepare.detection import assign, kind_of
    from batchswap.runner.prepare.steps import STEPS, Step, Unfit
    from batchswap.tasks import is_url

    row = sample.row

    async def url_of(given: str) -> str:
        return given if is_url(given) else await asking.upload(Path(sample.folder, given))

    inputs: dict[str, Any] = {row.model.target_field: await url_of(row.target)}
    if Step.DETECT in STEPS[row.model]:
        found = await asking.detect(kind_of(row.model), inputs[row.model.target_field])
        known = tuple((face.id, face.link) for face in found.faces)
        try:
            faces = assign(tuple([(face_id, await url_of(given)) for face_id, given in row.faces]), known)
        except Unfit as unfit:
            raise BatchswapError(unfit.reason) from None
        inputs |= {"detect_id": found.detect_id, "faces": [{"face_id": i, "target": url} for i, url in faces]}
    else:
        inputs["new_face"] = await url_of(row.face)
    answer = await asking.ask(lambda client: client.estimate(wire.CreateTask(row.model, inputs)))
    told = wire.Estimate.from_json(answer.data)
    return told.estimated_credits, told.balance
