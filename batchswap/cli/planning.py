"""`batchswap plan`: what a run would do. Nothing is charged, and nothing is written."""

import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.going import complete
from batchswap.cli.voice import Voice
from batchswap.errors import AccountRefused, BatchswapError, Exit

if TYPE_CHECKING:
    from batchswap.cli.errands import Errands
    from batchswap.local.server.engines import Engine
    from batchswap.report.planning import Prices, Sample, Work
    from batchswap.settings import Settings
    from batchswap.tasks import Model


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
    from batchswap.cli.building import build_reading, build_settings, build_sources
    from batchswap.cli.hearing import listen
    from batchswap.cli.ledgers import reading
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.ledger import files
    from batchswap.ledger.queries import Selection
    from batchswap.report import planning

    listen(voice)
    settings = build_settings(**asked)
    stdin = None if sys.stdin is None else sys.stdin.buffer
    rows = manifest.read(build_sources(manifests, **asked), build_reading(**asked), stdin)
    selection = Selection((), settings.filter, settings.tags, settings.limit)
    with reading(settings.db) if files.exists(settings.db) else nullcontext() as db:
        work = planning.Surveyor(db, selection).survey(rows)
        took = planning.average_durations(db) if db is not None else {}
    found = planning.conclude(work, find_prices(settings, work), settings, took)
    if asked["as_json"]:
        print_json(found.to_json())
    else:
        print_lines(found.to_lines())
    return Exit.DONE


def find_prices(settings: "Settings", work: "Work", engine: "Engine | None" = None) -> "Prices":
    """EstimateTask once per model; without a key, or without an answer, the prices are unknown and it is said why."""
    from batchswap.report.planning import Prices

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

    from batchswap.cli.accounts import find_account, opened
    from batchswap.cli.errands import errands
    from batchswap.report.planning import Prices

    account = find_account(settings)
    each: dict[Model, float | None] = {}
    balance = None
    with tempfile.TemporaryDirectory(prefix="batchswap-plan-") as folder:
        # A local server of its own: the real one's folder is not touched, and may be in use by a run.
        apart = settings if account else msgspec.structs.replace(settings, db=Path(folder, "batchswap.db"))
        async with opened(apart, account, engine) as who, errands(apart, who) as asking:
            for model, sample in work.samples.items():
                each[model], told = await _price(asking, sample, may_upload=account is None)
                balance = told if told is not None and account is not None else balance
    missing = any(price is None for price in each.values())
    return Prices(each, balance, "inputs that are files are priced when they are uploaded" if missing else "")


async def _price(asking: "Errands", sample: "Sample", *, may_upload: bool) -> tuple[float | None, float | None]:
    """Credits for a task like the sample, and the balance; None where the API does not say."""
    from batchswap import wire
    from batchswap.tasks import is_url

    row = sample.row
    if row.model.is_multi or not (may_upload or (is_url(row.target) and is_url(row.face))):
        return None, None
    inputs = {
        field: given if is_url(given) else await asking.upload(Path(sample.folder, given))
        for field, given in ((row.model.target_field, row.target), ("new_face", row.face))
    }
    answer = await asking.ask(lambda client: client.estimate(wire.CreateTask(row.model, inputs)))
    found = wire.Estimate.from_json(answer.data)
    return found.estimated_credits, found.balance
