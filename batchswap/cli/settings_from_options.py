"""Turn options into Settings and into the sources and options of manifests."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import BinaryIO

import click

from batchswap.cli.config import is_typed, no_text
from batchswap.cli.option_types import NO_RATE
from batchswap.cli.options import (
    AccountOptions,
    ReadingOptions,
    RegisterOptions,
    SigningOptions,
    TickOptions,
    WorkOptions,
)
from batchswap.clock import elapsed
from batchswap.errors import UsageError
from batchswap.manifest import Options, Source
from batchswap.manifest.sources import ENDINGS, ManifestFormat, folder_of
from batchswap.network import routes_of
from batchswap.operations.settings_check import check_callback, check_proof, check_visible_label
from batchswap.report.next_commands import command
from batchswap.settings import Mode, Settings


def build_settings(options: AccountOptions) -> Settings:
    """Return the settings. A setting without an option keeps its default. Raise UsageError."""
    values = {
        name: value for name, value in vars(options).items() if name in Settings.__struct_fields__ and value is not None
    }
    if options.rate is not None:
        values["rate_limit"], values["rate_period"] = (None, 10.0) if options.rate == NO_RATE else options.rate
    if isinstance(options, WorkOptions):
        values["deadline"], most = options.until, options.max_duration
        values["ends_at"] = None if most is None else elapsed() + most
        values["tags"] = options.tag
        if options.callback_listen is not None:
            values["callback_host"], values["callback_port"] = options.callback_listen
        if not options.preflight and _is_typed("fetch"):
            raise UsageError("--fetch: only --preflight looks at targets")
        check_callback(options.callback_url, has_address=options.callback_listen is not None)
        values["score"] = not options.no_score
    if isinstance(options, TickOptions):
        values["mode"] = mode_of(options)
    if isinstance(options, SigningOptions):
        values["label"] = not options.no_label
    settings = Settings(**values)
    check_proof(settings)
    check_visible_label(settings)
    routes_of(settings.proxy)  # raises
    return settings


def mode_of(options: TickOptions) -> Mode:
    """Return the mode of a run. Raise UsageError for two at once."""
    modes: dict[Mode, bool] = {"submit": options.submit_only, "collect": options.collect_only, "tick": options.tick}
    chosen = [mode for mode, is_chosen in modes.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError(
            "give one of --tick, --submit-only and --collect-only: each says what the run does before it leaves"
        )
    return chosen[0] if chosen else "run"


def build_sources(manifests: tuple[str, ...], options: ReadingOptions) -> list[Source]:
    """Return each manifest once, in the given order. Raise UsageError for a folder whose path is not valid text."""
    given = dict.fromkeys(manifests)
    if wrong := next(filter(None, (no_text(folder_of(path)) for path in given)), ""):
        raise UsageError(f"the folder {wrong}")
    return [Source(path, _format_of(path, options.format), options.batch) for path in given]


def _format_of(path: str, asked: ManifestFormat | None) -> ManifestFormat | None:
    """Return --format; None if it was not typed and the file name tells: a variable may set it for `tasks`."""
    is_elsewhere = click.get_current_context(silent=True) is not None and not _is_typed("format")
    return None if is_elsewhere and PurePath(path).suffix.lower() in ENDINGS else asked


def _is_typed(name: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and is_typed(context, name)


def build_reading(options: ReadingOptions) -> Options:
    """Return the options for reading rows."""
    register = options.consent_register if isinstance(options, RegisterOptions) else None
    return Options(
        options.name_template,
        options.require_consent,
        str(options.out),
        consent_register="" if register is None else str(register),
    )


def run_command(db: Path, manifests: tuple[str, ...], options: ReadingOptions, provider: str) -> Callable[[str], str]:
    """Return a function that adds options to the `batchswap run` command of these manifests, for printing."""

    def words(more: str) -> str:
        own = f"--batch {shlex.quote(options.batch)} " if options.batch and "--batch" not in more else ""
        place = f"--out {shlex.quote(str(options.out))} " if options.out != Path("results") else ""
        local = "--provider local " if provider == "local" else ""
        return command("run", db, *manifests, options=f"{place}{local}{own}{more}")

    return words


def standard_input() -> BinaryIO | None:
    """Return the stream for the manifest "-"; None if the process has no standard input."""
    return None if sys.stdin is None else sys.stdin.buffer
