"""Options that several commands share, each declared once. Help: one line, no period, the default shown."""

from pathlib import Path
from typing import Literal

import click

from batchswap.cli import option_types as kinds
from batchswap.cli.command import CommandOptions, argument, flag, option, owe_document

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class LedgerOptions(CommandOptions):
    db: Path = option(type=FILE, default=Path("batchswap.db"), metavar="FILE", help="the ledger")


class OutOptions(CommandOptions):
    out: Path = option(type=FOLDER, default=Path("results"), metavar="DIR", help="where results go")


class BaseUrlOptions(CommandOptions):
    base_url: str = option(
        metavar="URL", default="https://api.crun.ai", also=["CRUN_BASE_URL"], help="of the API; also CRUN_BASE_URL"
    )


class ProviderOptions(CommandOptions):
    provider: Literal["crun", "local"] = option(
        type=click.Choice(["crun", "local"]), default="crun", help="where tasks go"
    )


class RateOptions(CommandOptions):
    rate: tuple[int, float] | None = option(
        type=kinds.RATE, help="requests of all kinds per window  [default: 20/10s; local: none]"
    )


class AccountOptions(ProviderOptions, BaseUrlOptions, RateOptions):
    """What every command needs that asks the API."""


class ManifestsOptions(CommandOptions):
    manifests: tuple[str, ...] = argument(nargs=-1, required=True, metavar="MANIFEST...")


class ReadingOptions(OutOptions):
    format: Literal["csv", "yaml", "json", "jsonl"] | None = option(
        type=click.Choice(["csv", "yaml", "json", "jsonl"]), help="of the manifests; else by name"
    )
    batch: str | None = option(metavar="NAME", help="of the batch; else the manifest's own name")
    name_template: str = option(default="{batch}/{key}{ext}", metavar="TEMPLATE", help="of outputs, below --out")
    require_consent: bool = flag(help="rows without consent are an error")


class UploadOptions(CommandOptions):
    max_upload: int = option(type=kinds.SIZE, default="512MiB", help="input files larger than this are refused")


class SpaceOptions(CommandOptions):
    min_free: int = option(type=kinds.SIZE, default="1GB", help="disk space below which nothing is submitted")


class DuplicatesOptions(CommandOptions):
    duplicates: str = option(
        type=click.Choice(["refuse", "reuse", "pay"]),
        default="refuse",
        help="rows whose inputs another batch of the ledger has done or is doing",
    )


class JsonOptions(CommandOptions):
    as_json: bool = flag("--json", is_eager=True, callback=owe_document, help="one JSON document on stdout")


class WorkOptions(
    ManifestsOptions,
    LedgerOptions,
    AccountOptions,
    UploadOptions,
    SpaceOptions,
    ReadingOptions,
    DuplicatesOptions,
    JsonOptions,
):
    """What `run` and `plan` share."""

    in_flight: int | None = option(
        type=kinds.POSITIVE, metavar="N", help="tasks at the API at once  [default: 100; local: 2 per core]"
    )
    workers: int = option(type=kinds.POSITIVE, default=16, metavar="N", help="open HTTP calls at once")
    downloads: int = option(type=kinds.POSITIVE, default=4, metavar="N", help="downloads at once")
    ahead: int = option(type=kinds.POSITIVE, default=16, metavar="N", help="tasks made ready before their turn")

    retries: int = option(type=kinds.COUNT, default=3, metavar="N", help="further tries of a poll, download or upload")
    paid_attempts: int = option(type=kinds.POSITIVE, default=1, metavar="N", help="attempts that a task may cost")
    same_refusals: int = option(type=kinds.POSITIVE, default=20, metavar="N", help="refused alike in a row: stop")

    budget: float | None = option(type=kinds.CREDITS, help="spent + reserved of this run stay within it")
    budget_per_day: float | None = option(type=kinds.CREDITS, help="the same for a calendar day, over all runs")

    until: float | None = option(type=kinds.TIME_OF_DAY, help="stop in time, collect what runs, exit 7")
    max_duration: float | None = option(type=kinds.DURATION, help="the same, so long after the start (6h, 90m)")
    task_timeout: float = option(type=kinds.DURATION, default="6h", help="how long to wait for one task")
    patience: float = option(type=kinds.DURATION, default="2h", help="how long the API may stay unavailable")
    upload_ttl: float = option(type=kinds.DURATION, default="24h", help="how long an upload is used again")

    callback_url: str | None = option(metavar="URL", help="where the API reaches the callback receiver")
    callback_listen: tuple[str, int] | None = option(type=kinds.ADDRESS, help="where the callback receiver listens")

    limit: int | None = option(type=kinds.COUNT, metavar="N", help="only the first N rows (of those that match)")
    filter: str = option(
        default="", show_default=False, metavar="TEXT", help="only rows with TEXT in key, target, face or output"
    )
    tag: tuple[str, ...] = option(
        type=kinds.TAG, multiple=True, metavar="TAG", help="only rows with this tag; several: with all of them"
    )
