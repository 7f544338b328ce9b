"""Checks of settings before a run, for the command line and for programs."""

import logging
import math
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from batchswap.clock import unknown_zone
from batchswap.delivery import missing_packages
from batchswap.errors import MissingExtra, UsageError
from batchswap.events import LogEvent, report
from batchswap.local.engine import check_text
from batchswap.network import routes_of
from batchswap.settings import Settings


def checked(settings: Settings) -> Settings:
    """Return the settings with paths as `Path`. Raise UsageError for a value that no option would accept."""
    values = msgspec.structs.asdict(settings)
    if wrong := next((name for name in ("db", "out") if not isinstance(values[name], str | Path)), ""):
        raise UsageError(f"Settings.{wrong}: Expected `Path`, got `{type(values[wrong]).__name__}`")
    try:
        found = msgspec.convert(values, Settings, dec_hook=lambda _, path: Path(path))
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$.")
        raise UsageError(f"Settings.{place.rstrip('`')}: {words}") from None
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"Settings.{name}: expected a finite number")
    check_proof(found)
    check_visible_label(found)
    routes_of(found.proxy)  # raises
    check_callback(found.callback_url, has_address=found.callback_host is not None)
    return found


def check_proof(settings: Settings) -> None:
    """Raise UsageError if a swap is required of every result and results cannot be examined."""
    if not settings.require_swap:
        return
    if not settings.score:
        raise UsageError("--require-swap needs results to be examined: leave out --no-score")
    if missing := missing_packages():
        raise MissingExtra("proof", *missing)


def check_zone(settings: Settings) -> None:
    """Warn if --until or --budget-per-day depend on a time zone that this machine does not know."""
    if (settings.deadline is not None or settings.budget_per_day is not None) and (zone := unknown_zone()):
        words = f"this machine does not know the time zone {zone} (TZ) and uses UTC: install its time zones (tzdata)"
        report(LogEvent.TIME_ZONE_UNKNOWN, words, logging.WARNING)


def check_visible_label(settings: Settings) -> None:
    """Raise UsageError for a visible label that cannot be drawn, and MissingExtra."""
    if settings.visible_label and (problem := check_text(settings.visible_label)):
        raise UsageError(f"--visible-label: {problem}; write a short text such as 'AI-generated'")


def check_callback(url: str | None, *, has_address: bool) -> None:
    """Raise UsageError for a callback URL without an address to listen on, the reverse, and an invalid URL."""
    if has_address != (url is not None):
        raise UsageError(
            "callbacks need both --callback-url, for the API, and --callback-listen, for the local receiver"
        )
    if url is None:
        return
    if not url.startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise UsageError("--callback-url: must be an http(s) URL without a query, because a path is appended to it")
    try:
        parts = urlsplit(url)
        is_place = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not re.search(r"\s", url)
    except ValueError:
        is_place = False
    if not is_place:
        raise UsageError("--callback-url: must name a host that the API can reach, such as https://example.com/hook")
