"""The provider of a command: the vendor's account, or a local server that runs as long as the command."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batchswap.client.http import check_base_url, is_loopback
from batchswap.errors import AccountRefused, UsageError
from batchswap.local.server.work.engine_interface import Engine
from batchswap.network import routes_of
from batchswap.network.certificates import problem_of_files
from batchswap.operations.api_key import Key, find_key
from batchswap.runner.run import Account
from batchswap.settings import Settings
from batchswap.workers.worker_pool import environment_of

LOCAL = "local"
_LOOK = "from batchswap.local.engine import check_usable; print(*check_usable(), sep='\\n')"


def find_account(settings: Settings, api_key: str | None = None) -> Account | None:
    """Return the account as `account_of` does. Raise UsageError also if SSL_CERT_FILE or SSL_CERT_DIR is unusable."""
    if settings.provider != LOCAL and (problem := problem_of_files()):
        raise UsageError(problem)
    return account_of(settings, api_key)


def account_of(settings: Settings, api_key: str | None = None) -> Account | None:
    """Return the vendor's account; None for the local provider, whose server is not started yet.

    `api_key` None: the key in the environment or in the user's file. Raise AccountRefused without a valid key, and
    UsageError for a base URL that would send it unencrypted.
    """
    if settings.provider == LOCAL:
        return None
    base_url = check_base_url(settings.base_url)
    given = None if api_key is None else Key(api_key, "the api_key argument")
    key = find_key(given, strict=not is_on_this_machine(base_url))
    return Account(base_url, base_url, key.text)


def find_account_or_refusal(settings: Settings, api_key: str | None = None) -> Account | AccountRefused | None:
    """Return the account, or the error about the key: a plan works without prices. Raise UsageError."""
    try:
        return find_account(settings, api_key)
    except AccountRefused as error:
        return error


def account_name(settings: Settings, account: Account | None) -> str:
    """Return the name of the account that attempts belong to, also without a key."""
    if account is not None:
        return account.name
    return LOCAL if settings.provider == LOCAL else check_base_url(settings.base_url)


def is_on_this_machine(base_url: str) -> bool:
    """Return whether the URL is on this machine. It is not the vendor's then, and keys may have any form."""
    from yarl import URL

    return is_loopback(URL(base_url).host or "")


def local_folder(settings: Settings) -> Path:
    """Return the folder of the local provider's tasks and results, next to the ledger."""
    return settings.db.resolve().parent / "batchswap-local"


@asynccontextmanager
async def opened(settings: Settings, account: Account | None, engine: Engine | None = None) -> AsyncIterator[Account]:
    """Yield the account; start the local server if there is no account. `engine` None: the real one."""
    if account is not None:
        yield account
        return
    from batchswap.local.server.app import start
    from batchswap.local.server.settings import ServerSettings

    routes = routes_of(settings.proxy)
    # Private addresses are allowed, because only this process has the key of the server.
    async with start(ServerSettings(local_folder(settings), allow_private=True, routes=routes), engine) as server:
        yield Account(LOCAL, server.base_url, server.key, is_idempotent=True)


def check_engine() -> list[str]:
    """Return the problems of the local engine. It is loaded in a separate process.

    Its libraries take hundreds of megabytes, and a broken library would crash this process.
    """
    command, secretless = [sys.executable, "-c", _LOOK], environment_of(os.environ)
    try:
        done = subprocess.run(command, env=secretless, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    except OSError as error:
        return [f"{sys.executable} cannot be started ({error.strerror})"]
    problems = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        problems.append(
            f"the local engine cannot be loaded: {(done.stderr.strip().splitlines() or ['it crashed'])[-1]}"
        )
    return problems


def require_engine() -> None:
    """Raise UsageError if the local engine does not work, with the packages to install."""
    if problems := check_engine():
        raise UsageError("\n".join(["the local engine does not work:", *problems, "see also `batchswap doctor`"]))
