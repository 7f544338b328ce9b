"""Options become frozen values: Settings, and what to read of the manifests."""

import os
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

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
    from batchswap.settings import Settings

    is_local = asked.get("provider") == "local"
    values = {name: asked[name] for name in _ALIKE if name in asked}
    rate = asked.get("rate") or (NO_RATE if is_local else (20, 10.0))
    values["rate_limit"], values["rate_period"] = (None, 10.0) if rate == NO_RATE else rate
    values["in_flight"] = asked.get("in_flight") or (2 * _cores() if is_local else 100)
    values["deadline"], most = asked.get("until"), asked.get("max_duration")
    values["ends_at"] = None if most is None else time.monotonic() + most
    values["tags"] = tuple(asked.get("tag", ()))
    listen = asked.get("callback_listen")
    if (listen is None) != (asked.get("callback_url") is None):
        raise UsageError("callbacks need both: --callback-url for the API, --callback-listen for the receiver here")
    if listen is not None:
        values["callback_host"], values["callback_port"] = listen
    _check_callback(asked.get("callback_url"))
    return Settings(**values)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_callback(url: str | None) -> None:
    """Raises UsageError for what no path can be put behind, and for what leads nowhere: that the API takes, too."""
    if url is None:
        return
    if not url.startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise UsageError("--callback-url: must be an http(s) URL without a query: a path is put behind it")
    try:
        parts = urlsplit(url)
        is_place = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not re.search(r"\s", url)
    except ValueError:
        is_place = False
    if not is_place:
        raise UsageError("--callback-url: must name a host that the API can reach, such as https://example.com/hook")


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
