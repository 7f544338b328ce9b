"""Options become frozen values: Settings, and what to read of the manifests."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchswap.cli.config import no_text
from batchswap.cli.option_types import NO_RATE
from batchswap.errors import UsageError

if TYPE_CHECKING:
    from batchswap.manifest import Options, Source
    from batchswap.settings import Settings

_ALIKE = (
    "db", "out", "provider", "base_url", "workers", "downloads", "ahead", "retries", "paid_attempts", "same_refusals",
    "budget", "budget_per_day", "callback_url", "task_timeout", "patience", "upload_ttl", "max_upload", "min_free",
    "filter", "limit", "duplicates",
)  # fmt: skip
"""Options that Settings knows by the same name."""


def build_settings(**asked: Any) -> "Settings":
    """From the options of any command; what the command has no option for keeps its default. Raises UsageError."""
    from batchswap.operations.settings_check import check_callback
    from batchswap.settings import Settings

    values = {name: asked[name] for name in _ALIKE if name in asked}
    if rate := asked.get("rate"):
        values["rate_limit"], values["rate_period"] = (None, 10.0) if rate == NO_RATE else rate
    if in_flight := asked.get("in_flight"):
        values["in_flight"] = in_flight
    values["deadline"], most = asked.get("until"), asked.get("max_duration")
    values["ends_at"] = None if most is None else time.monotonic() + most
    values["tags"] = tuple(asked.get("tag", ()))
    if (listen := asked.get("callback_listen")) is not None:
        values["callback_host"], values["callback_port"] = listen
    check_callback(asked.get("callback_url"), has_address=listen is not None)
    return Settings(**values)


def build_sources(manifests: tuple[str, ...], **asked: Any) -> "list[Source]":
    """Each manifest once, in the order given. Raises UsageError for a folder that the ledger could not name."""
    from batchswap.manifest import Source
    from batchswap.manifest.sources import folder_of

    given = dict.fromkeys(manifests)
    if wrong := next(filter(None, (no_text(folder_of(path)) for path in given)), ""):
        raise UsageError(f"the folder {wrong}")
    return [Source(path, asked["format"], asked["batch"]) for path in given]


def build_reading(**asked: Any) -> "Options":
    from batchswap.manifest import Options

    out: Path = asked["out"]
    return Options(asked["name_template"], asked["require_consent"], str(out))


def run_command(db: Path, manifests: tuple[str, ...], asked: dict[str, Any]) -> Callable[[str], str]:
    """`batchswap run` of these manifests, with further options: what a command that only looks suggests."""
    from batchswap.report.next_commands import command

    def words(options: str) -> str:
        own = f"--batch {shlex.quote(asked['batch'])} " if asked["batch"] and "--batch" not in options else ""
        place = f"--out {shlex.quote(str(asked['out']))} " if asked["out"] != Path("results") else ""
        local = "--provider local " if asked["provider"] == "local" else ""
        return command("run", db, *manifests, options=f"{place}{local}{own}{options}")

    return words
