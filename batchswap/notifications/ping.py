"""Pings of a dead man's switch, which tells people when they stop. Pure."""

import re
from urllib.parse import urlsplit, urlunsplit

from batchswap.notifications.http_call import HttpCall
from batchswap.notifications.message import Message

LARGEST = 100_000
"""Bytes of a digest. Healthchecks keeps no more."""
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CHECK = re.compile(rf"(?:.*/)?{_UUID}/*|.*/ping/[^/]+/[^/]+/*", re.IGNORECASE)
_BY_SLUG = re.compile(r"/[^/]+/[^/]+/*")
_HOST = "hc-ping.com"


def is_healthchecks(url: str) -> bool:
    """Return whether a URL is one of Healthchecks: it ends in a UUID, or in /ping/KEY/SLUG, or is at hc-ping.com."""
    found = urlsplit(url)
    if found.hostname == _HOST and _BY_SLUG.fullmatch(found.path):
        return True
    return _CHECK.fullmatch(found.path) is not None


def start_call(url: str, run_id: str) -> HttpCall | None:
    """Return the ping at the start of a run; None for a service that has none."""
    return HttpCall("ping", "POST", _with(url, "start", run_id)) if is_healthchecks(url) else None


def end_call(url: str, run_id: str, signal: str, message: Message, *, is_well: bool) -> HttpCall | None:
    """Return the ping at the end of a run. `signal`: its exit code, or "log" if no run has ended.

    Other services than Healthchecks get a plain GET if the run ended well: after a failure, the ping must not come.
    """
    if not is_healthchecks(url):
        return HttpCall("ping", "GET", url) if is_well else None
    return HttpCall("ping", "POST", _with(url, signal, run_id), digest(message), _headers)


def digest(message: Message) -> bytes:
    """Return the text for the log of the check."""
    return f"{message.title}\n\n{message.text}\n".encode()[:LARGEST].decode(errors="ignore").encode()


def _headers() -> dict[str, str]:
    return {"Content-Type": "text/plain; charset=utf-8"}


def _with(url: str, signal: str, run_id: str) -> str:
    """Append the signal to the path, and the id of the run to the query."""
    found = urlsplit(url)
    query = "&".join(filter(None, [found.query, f"rid={run_id}"]))
    return urlunsplit((found.scheme, found.netloc, f"{found.path.rstrip('/')}/{signal}", query, ""))
