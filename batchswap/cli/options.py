"""Options that several commands share, each declared once. Help: a phrase without a period; the default is shown."""

from pathlib import Path
from typing import Literal

import click

from batchswap.cli import option_types as kinds
from batchswap.cli.command import CommandOptions, argument, flag, option, owe_document
from batchswap.cli.completion import ledger_values

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PLACE = click.Path(path_type=Path)


class LedgerOptions(CommandOptions):
    heading = "Where"
    db: Path = option(
        type=FILE, default=Path("batchswap.db"), metavar="FILE", help="ledger: the file that records every task"
    )


class OutOptions(CommandOptions):
    heading = "Where"
    out: Path = option(type=FOLDER, default=Path("results"), metavar="DIR", help="folder for the results")


class BaseUrlOptions(CommandOptions):
    heading = "Where"
    base_url: str = option(
        metavar="URL",
        default="https://api.crun.ai",
        also=["CRUN_BASE_URL"],
        help="base URL of the API (also CRUN_BASE_URL)",
    )


class ProviderOptions(CommandOptions):
    heading = "Where"
    provider: Literal["crun", "local"] = option(
        type=click.Choice(["crun", "local"]),
        default="crun",
        help="swap faces with the paid API of CRUN, or on this machine for free",
    )


class RateOptions(CommandOptions):
    heading = "How fast"
    rate: tuple[int, float] | None = option(
        type=kinds.RATE,
        help="maximum requests per period and key, of all kinds  [default: 20/10s; local: none]",
    )


class ProxyOptions(CommandOptions):
    heading = "Where"
    proxy: str = option(
        default="",
        show_default=False,
        metavar="URL|env",
        help="proxy for all hosts but this machine; env: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say",
    )


class AccountOptions(ProviderOptions, BaseUrlOptions, ProxyOptions, RateOptions):
    """Options of every command that sends requests to the API."""


class ManifestsOptions(CommandOptions):
    manifests: tuple[str, ...] = argument(
        nargs=-1, required=True, metavar="MANIFEST...", shell_complete=ledger_values.files
    )


class ReadingOptions(OutOptions):
    heading = "Which rows"
    format: Literal["csv", "yaml", "json", "jsonl"] | None = option(
        type=click.Choice(["csv", "yaml", "json", "jsonl"]),
        help="format of the manifests  [default: by file name]",
    )
    batch: str | None = option(
        metavar="NAME",
        shell_complete=ledger_values.batches,
        help="name of the batch  [default: the manifest's own name]",
    )
    name_template: str = option(
        default="{batch}/{key}{ext}", metavar="TEMPLATE", help="file names of the results, below --out"
    )
    require_consent: bool = flag(help="report every row without `consent` as an error")


class RegisterOptions(CommandOptions):
    heading = "Which rows"
    consent_register: Path | None = option(
        type=FILE, metavar="FILE", help="report every row without a valid release in this register as an error"
    )


class UploadOptions(CommandOptions):
    heading = "How much"
    max_upload: int = option(type=kinds.SIZE, default="512MiB", help="refuse input files larger than this")


class FetchOptions(CommandOptions):
    heading = "How much"
    fetch: int | None = option(
        type=kinds.SIZE, help="also download targets that are URLs, up to this size, to look for a face in them"
    )


class PreflightOptions(FetchOptions):
    heading = "Quality"
    preflight: bool = flag(help="look for a face in every local target before it is uploaded; submit none without one")


class SpaceOptions(CommandOptions):
    heading = "How much"
    min_free: int = option(
        type=kinds.SIZE, default="1GB", help="submit nothing while less disk space than this is free"
    )


class DuplicatesOptions(CommandOptions):
    heading = "Which rows"
    duplicates: str = option(
        type=click.Choice(["refuse", "reuse", "pay"]),
        default="refuse",
        help="rows that another batch has already: refuse to run, reuse the result, or pay again",
    )


class JsonOptions(CommandOptions):
    heading = "Output"
    as_json: bool = flag("--json", is_eager=True, callback=owe_document, help="print one JSON document on stdout")


class PicturesOptions(CommandOptions):
    heading = "Output"
    pictures: Literal["all", "trouble", "none"] = option(
        type=click.Choice(["all", "trouble", "none"]),
        default="trouble",
        help="pictures in the report: of all results, of those that need a look and 300 others, or none",
    )


class SpeedOptions(CommandOptions):
    heading = "How fast"
    in_flight: int | None = option(
        type=kinds.POSITIVE,
        metavar="N",
        help="maximum tasks in progress at the API  [default: 100; local: 2 per core]",
    )
    workers: int = option(type=kinds.POSITIVE, default=16, metavar="N", help="maximum open HTTP requests")
    downloads: int = option(type=kinds.POSITIVE, default=4, metavar="N", help="maximum downloads at the same time")
    ahead: int = option(
        type=kinds.POSITIVE, default=16, metavar="N", help="tasks to upload and price before their turn to be submitted"
    )


class MoneyOptions(CommandOptions):
    heading = "How much"
    budget: float | None = option(type=kinds.CREDITS, help="maximum credits that this run spends and reserves")
    budget_per_day: float | None = option(
        type=kinds.CREDITS, help="maximum credits per calendar day, over all runs with this key"
    )
    paid_attempts: int = option(
        type=kinds.POSITIVE, default=1, metavar="N", help="attempts that one task may be charged for"
    )
    retries: int = option(
        type=kinds.COUNT, default=3, metavar="N", help="free retries of a failed poll, upload or download"
    )
    same_refusals: int = option(
        type=kinds.POSITIVE, default=20, metavar="N", help="stop after N identical refusals in a row"
    )


class TimeOptions(CommandOptions):
    heading = "How long"
    until: float | None = option(
        type=kinds.TIME_OF_DAY, help="end by this time: stop submitting early enough, exit 7 if work is left"
    )
    max_duration: float | None = option(
        type=kinds.DURATION, help="end within this time of the start, in the same way (6h, 90m)"
    )
    task_timeout: float = option(type=kinds.DURATION, default="6h", help="longest wait for the result of one task")
    patience: float | None = option(
        type=kinds.DURATION, help="longest wait while the API is unavailable  [default: 2h; --tick: 30s]"
    )
    upload_ttl: float = option(
        type=kinds.DURATION, default="24h", help="use an uploaded file again for this long, without another upload"
    )


class TickOptions(CommandOptions):
    heading = "Unattended"
    tick: bool = flag(
        help="collect tasks that have probably ended, submit as many as allowed, and leave; exit 7 if work is left"
    )
    submit_only: bool = flag(help="submit as many tasks as allowed, and leave; exit 7 if work is left")
    collect_only: bool = flag(help="collect the tasks in progress; never submit; exit 7 if tasks are queued")


class CallbackOptions(CommandOptions):
    heading = "Where"
    callback_url: str | None = option(metavar="URL", help="public URL at which the API can reach the callback receiver")
    callback_listen: tuple[str, int] | None = option(type=kinds.ADDRESS, help="local address of the callback receiver")


class SelectionOptions(CommandOptions):
    heading = "Which rows"
    limit: int | None = option(type=kinds.COUNT, metavar="N", help="only the first N rows (of those that match)")
    filter: str = option(
        default="", show_default=False, metavar="TEXT", help="only rows with TEXT in key, target, face or output"
    )
    tag: tuple[str, ...] = option(
        type=kinds.TAG, multiple=True, metavar="TAG", help="only rows with this tag; repeatable: with all of these tags"
    )


class QualityOptions(CommandOptions):
    heading = "Quality"
    require_swap: bool = flag(help="end with exit 3 if a result shows no swap, until you have reviewed it")
    no_score: bool = flag(help="do not examine the results; their quality is then unknown")
    visible_label: str = option(
        default="",
        show_default=False,
        metavar="TEXT",
        help="draw TEXT onto every frame, lower left, such as 'AI-generated'; results are encoded again for it",
    )


class KeysOptions(CommandOptions):
    heading = "Quality"
    sign: Path | None = option(
        type=FOLDER, metavar="DIR", help="sign results with the keys in DIR, which `batchswap sign init DIR` makes"
    )


class SigningOptions(KeysOptions):
    heading = "Quality"
    timestamp_url: str = option(
        default="", show_default=False, metavar="URL", help="add a time stamp of this server (RFC 3161) to signatures"
    )
    no_label: bool = flag(help="do not label results as synthetic in their metadata")


class WorkOptions(
    ManifestsOptions,
    LedgerOptions,
    AccountOptions,
    CallbackOptions,
    SpeedOptions,
    MoneyOptions,
    UploadOptions,
    SpaceOptions,
    TimeOptions,
    ReadingOptions,
    RegisterOptions,
    SelectionOptions,
    PreflightOptions,
    DuplicatesOptions,
    QualityOptions,
    JsonOptions,
):
    """Options that `run` and `plan` share."""
