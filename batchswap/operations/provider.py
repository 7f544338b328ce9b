"""Who asks the API: the vendor's account, or a local server that lives as long as the command does."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batchswap.client.http import check_base_url, is_loopback
from batchswap.errors import AccountRefused, UsageError
from batchswap.local.server.work.engine_interface import Engine
from batchswap.operations.api_key import Key, find_key
from batchswap.runner.run import Account
from batchswap.settings import Settings

LOCAL = "local"
_LOOK = "from batchswap.local.engine import check_usable; print(*check_usable(), sep='\\n')"


def find_account(settings: Settings, api_key: str | None = None) -> Account | None:
    """Return the vendor's account; None for the local provider, whose server is not there yet.

    `api_key` None: the key of the environment or the user's file. Raises AccountRefused when there is no usable key,
    UsageError for a base URL that would show it to others.
    """
    if settings.provider == LOCAL:
        return None
    base_url = check_base_url(settings.base_url)
    given = None if api_key is None else Key(api_key, "the api_key argument")
    key = find_key(given, strict=not is_on_this_machine(base_url))
    return Account(base_url, base_url, key.text)


def find_account_or_refusal(settings: Settings, api_key: str | None = None) -> Account | AccountRefused | None:
    """As `find_account`, for a plan, which can do without prices; a base URL that no run takes is still a mistake."""
    try:
        return find_account(settings, api_key)
    except AccountRefused as error:
        return error


def account_name(settings: Settings, account: Account | None) -> str:
    """What attempts belong to, also where there is no key: the provider."""
    if account is not None:
        return account.name
    return LOCAL if settings.provider == LOCAL else check_base_url(settings.base_url)


def is_on_this_machine(base_url: str) -> bool:
    """Then it is not the vendor, and its keys may have any form."""
    from yarl import URL

    return is_loopback(URL(base_url).host or "")


def local_folder(settings: Settings) -> Path:
    """Where the local provider keeps its tasks and results: beside the ledger."""
    return settings.db.resolve().parent / "batchswap-local"


@asynccontextmanager
async def opened(settings: Settings, account: Account | None, engine: Engine | None = None) -> AsyncIterator[Account]:
    """The account, with its local server if it has one; `engine` None: the one that really swaps."""
    if account is not None:
        yield account
        return
    from batchswap.local.server.app import start
    from batchswap.local.server.settings import ServerSettings

    # Only this process has the key, so it is its user who names the addresses.
    async with start(ServerSettings(local_folder(settings), allow_private=True), engine) as server:
        yield Account(LOCAL, server.base_url, server.key, is_idempotent=True)


def check_engine() -> list[str]:
    """What keeps the local engine from working, in words; looked at in a process of its own, which it may not leave.

    Its libraries take hundreds of megabytes, and a broken one takes its process along.
    """
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    problems = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        problems.append(f"the local engine cannot be loaded: {(done.stderr.strip().splitlines() or ['it died'])[-1]}")
    return problems


def require_engine() -> None:
    """Raises UsageError, which says what to install."""
    if problems := check_engine():
        raise UsageError("\n".join(["the local engine cannot work here:", *problems, "see also `batchswap doctor`"]))
