"""Send a message to people with Apprise, in a process of its own. Addresses are passed on standard input only."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from batchswap.errors import MissingExtra, UsageError
from batchswap.network.routes import ENVIRONMENT
from batchswap.notifications.http_call import Sent
from batchswap.notifications.message import Message

ONE_TRY = 10.0
"""Seconds that one try may take."""
CHECK = 20.0
"""Seconds for the check of the addresses, which imports Apprise."""
LARGEST = 8_000_000
"""Bytes of an attachment. Most mail servers refuse larger ones."""
_MODULE = "batchswap.notifications.apprise_child"
_KEPT = (
    *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONUTF8", "VIRTUAL_ENV"),
    *("COVERAGE_PROCESS_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("DBUS_SESSION_BUS_ADDRESS", "DISPLAY"),  # messages on the desktop
)
_SEVERAL = re.compile(r"\s|[,;][A-Za-z][A-Za-z0-9+.-]*://")
"""Finds a space, or the beginning of another address."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_HERE = ("localhost", "127.0.0.1", "::1")
"""This machine, which is always reached directly."""


def environment_of(environ: Mapping[str, str], proxy: str = "") -> dict[str, str]:
    """Return the environment of the process: no keys, and proxies only when they are asked for.

    `proxy`: "" for none, "env" for those of `environ`, or a URL.
    """
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith("LC_")}
    # Not the working directory (-P): an apprise.py of somebody's folder of manifests would run.
    kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    kept["NETRC"] = os.devnull  # requests would add credentials from ~/.netrc
    if bundle := kept.get("SSL_CERT_FILE"):
        kept.setdefault("REQUESTS_CA_BUNDLE", bundle)
    if proxy == ENVIRONMENT:
        kept |= {name.lower(): value for name, value in environ.items() if name.lower() in _PROXIES}
    elif proxy:
        kept |= dict.fromkeys(_PROXIES[:3], proxy)
    if proxy:
        kept["no_proxy"] = ",".join(filter(None, [kept.get("no_proxy"), *_HERE]))
    return kept


def scheme_of(url: str) -> str:
    """Return the scheme, the only part of an address of Apprise that is shown: the rest may be a token."""
    scheme, is_url, _ = url.partition("://")
    return f"{scheme}://" if is_url and scheme.isalnum() else "an address"


def check_addresses(urls: tuple[str, ...], proxy: str = "") -> None:
    """Raise MissingExtra without Apprise, and UsageError for an address that it does not know."""
    if not urls:
        return
    for each in urls:
        _check_form(each)
    if find_spec("apprise") is None:
        raise MissingExtra("notify", "apprise")
    order = {"check": True, "urls": urls}
    found = asyncio.run(_carried_out(order, proxy, CHECK))
    for number, url in enumerate(urls):
        if found.get(number):
            raise UsageError(f"--notify: {scheme_of(url)}… {found[number]}; see https://appriseit.com/services/")


def _check_form(url: str) -> None:
    """Raise UsageError for an address without a scheme, and for several in one: Apprise would use the first only."""
    if "://" not in url:
        raise UsageError(
            "--notify: an address begins with a scheme, such as mailto://; see https://appriseit.com/services/"
        )
    if _SEVERAL.search(url):
        raise UsageError(
            f"--notify: {scheme_of(url)}… has several addresses in one, or a space: repeat --notify for each address"
            " (in BATCHSWAP_NOTIFY, separate them with spaces), and write a space in an address as %20"
        )


async def send_message(
    urls: tuple[str, ...], message: Message, *, attachment: Path | None = None, proxy: str = "", seconds: float
) -> list[Sent]:
    """Send a message to all addresses, and return what became of each."""
    if not urls:
        return []
    order = {
        "check": False,
        "urls": urls,
        "title": message.title,
        "text": message.text,
        "is_bad": message.is_bad,
        "attachment": None if attachment is None else str(attachment),
        "seconds": min(ONE_TRY, seconds / 3),
    }
    found = await _carried_out(order, proxy, seconds)
    return [Sent("message", scheme_of(url), found.get(number, "no answer in time")) for number, url in enumerate(urls)]


async def _carried_out(order: dict[str, object], proxy: str, seconds: float) -> dict[int, str]:
    """Return the problem with each address, "" for none. An address without an answer is missing."""
    found: dict[int, str] = {}
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment_of(os.environ, proxy),
            start_new_session=True,
        )
    except OSError:
        return found
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            with suppress(OSError):
                process.stdin.write(json.dumps(order).encode())
                await process.stdin.drain()
            process.stdin.close()
            while line := await process.stdout.readline():
                number, words = json.loads(line)
                found[number] = words
            await process.wait()
    except (TimeoutError, ValueError):
        pass
    finally:
        # Not process.kill(), which may wait for the process itself and take its end from the loop.
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return found
