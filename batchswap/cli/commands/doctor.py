"""`batchswap doctor`: find what would stop a run, and how to repair it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import click

from batchswap import wire
from batchswap.cli.command_options import DoctorOptions
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.settings_from_options import build_settings
from batchswap.cli.user_files import key_words
from batchswap.delivery.proof import check_usable
from batchswap.errors import AccountRefused, ApiUnavailable, BatchswapError, Exit, ProxyUnavailable, worst
from batchswap.operations.api_key import HOW, find_key
from batchswap.operations.provider import account_of, check_engine, is_on_this_machine
from batchswap.preflight import environment
from batchswap.preflight.environment import Finding
from batchswap.preflight.proxy import PROXY_REMEDY, look_at_certificates, look_at_proxies
from batchswap.report.formatting import priced, safe
from batchswap.runner.run import Account
from batchswap.runner.standalone_calls import free_calls
from batchswap.settings import Settings

ENGINE_WORKS = "the local engine works"


def doctor(_: Console, options: DoctorOptions) -> int:
    """Print the findings. Return the exit code that a run would end with."""
    findings = [*examine(build_settings(options)), *environment.look_at_keys(options.sign)]
    code = worst({each.exit for each in findings})
    if options.as_json:
        print_json({"exit_code": code, "findings": [_to_json(each) for each in findings]})
    else:
        print_lines(line for each in findings for line in _to_lines(each))
    return code


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield the findings of all checks, the cheap ones first."""
    yield environment.look_at_clock(settings.db)
    yield environment.look_at_ledger(settings.db)
    yield from environment.look_at_state(settings)
    yield from environment.look_at_log(settings)
    yield environment.look_at_disk(settings)
    yield from look_at_certificates()
    yield from look_at_proxies(settings)
    if settings.provider == "crun":
        yield from _look_at_api(settings)
    engine = _look_at_engine(is_needed=settings.provider == "local")
    yield engine
    yield _look_at_proof(engine)


def _look_at_api(settings: Settings) -> Iterator[Finding]:
    goes = key_words(click.get_current_context())
    try:
        account = account_of(settings)
    except BatchswapError as error:
        yield Finding(
            "key", False, f"{error}; {goes}", HOW if isinstance(error, AccountRefused) else "see --base-url", error.exit
        )
        return
    place = find_key(strict=not is_on_this_machine(settings.base_url)).place
    yield Finding("key", True, f"found in {place}; {goes}")
    if account is None:
        return
    try:
        balance = asyncio.run(_ask(settings, account))
    except AccountRefused as error:
        fault, _, remedy = str(error).partition(": ")
        yield Finding("api", False, fault, remedy or "see the account's page at the API", error.exit)
    except ProxyUnavailable as error:
        yield Finding("proxy", False, str(error), PROXY_REMEDY, error.exit)
        yield Finding("api", False, "nothing is known about it, because of the proxy", PROXY_REMEDY, error.exit)
    except ApiUnavailable as error:
        remedy = f"check the network connection, and whether {account.base_url} is right (--base-url)"
        yield Finding("api", False, str(error), remedy, error.exit)
    except BatchswapError as error:
        yield Finding("api", False, str(error), "try again later", Exit.UNAVAILABLE)
    else:
        yield Finding("api", True, f"{account.base_url} accepts the key; balance: {balance}")


async def _ask(settings: Settings, account: Account) -> str:
    async with free_calls(settings, account, tries=1) as calls:
        answer = await calls.ask(lambda client: client.balance())
    return priced(wire.Balance.from_json(answer.data).balance)


def _look_at_engine(*, is_needed: bool) -> Finding:
    """Check the local engine, which only --provider local needs."""
    problems = check_engine()
    if not problems:
        return Finding("engine", True, ENGINE_WORKS)
    message = "; ".join(problems)
    if is_needed:
        return Finding("engine", False, message, "install the missing parts", Exit.USAGE)
    return Finding("engine", True, f"the local engine does not work ({message}), but --provider crun does not need it")


def _look_at_proof(engine: Finding) -> Finding:
    """Check whether results can be examined, which no run needs. `engine`: the finding on the engine's libraries."""
    problems = check_usable()
    if not problems and engine.message == ENGINE_WORKS:
        return Finding("proof", True, "results are examined: does each one show the new face?")
    why = "; ".join(problems) or "the local engine does not work"
    return Finding("proof", True, f"results are not examined, and their quality is unknown ({why})")


def _to_json(each: Finding) -> dict[str, Any]:
    return {"name": each.name, "ok": each.is_well, "message": each.message, "remedy": each.remedy}


def _to_lines(each: Finding) -> Iterator[str]:
    """Yield the message, and the remedy unless the message ends with it or explains it."""
    message = each.message
    for mark in (": ", "; ") if each.remedy else ():
        message = message.replace(f"{mark}{each.remedy}", "")
    yield ("ok   " if each.is_well else "BAD  ") + safe(f"{each.name}: {message}")
    if each.remedy and each.remedy not in message:
        yield "     " + safe(f"to repair: {each.remedy}")
