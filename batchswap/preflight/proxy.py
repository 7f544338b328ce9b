"""The checks of `batchswap doctor` on the way to other machines: proxies, and the certificates that are trusted."""

import os
import socket
from collections.abc import Iterator

from yarl import URL

from batchswap.errors import Exit
from batchswap.network import ProxyAddress, Routes, routes_of
from batchswap.network.certificates import FILE, FOLDER, problem_of_files
from batchswap.network.faults import reason_of
from batchswap.network.routes import is_bypassed, is_here, variables_set
from batchswap.preflight.environment import Finding
from batchswap.settings import Settings

SECONDS = 5.0
"""Longest wait for the connection to a proxy."""
PROXY_REMEDY = "check --proxy, its user and password, or ask the operator of the proxy"


def look_at_proxies(settings: Settings) -> Iterator[Finding]:
    """Check that each proxy can be reached. Without --proxy, name the proxy variables, which are not used."""
    names = " and ".join(variables_set())
    if not settings.proxy:
        if names:
            are, them = ("is", "it") if len(variables_set()) == 1 else ("are", "them")
            yield Finding("proxy", True, f"{names} {are} set and not used: --proxy env uses {them}")
        return
    routes = routes_of(settings.proxy)
    if not routes.proxies:
        yield Finding("proxy", True, "--proxy env: no proxy variable is set, so all connections are direct")
    for proxy in routes.proxies:
        source = f" ({names})" if names and settings.proxy == "env" else ""
        login = " with a user and a password" if proxy.user is not None else ""
        if problem := _problem(proxy):
            message = f"{proxy.shown}{source} cannot be reached{problem}"
            yield Finding("proxy", False, message, PROXY_REMEDY, Exit.UNAVAILABLE)
        else:
            yield Finding("proxy", True, f"{proxy.shown}{source} can be reached, and is used{login}")
    if routes.proxies and settings.provider == "crun" and (why := _why_direct(routes, settings.base_url)):
        yield Finding("proxy", True, f"{settings.base_url} is reached directly, because {why}")


def _why_direct(routes: Routes, base_url: str) -> str:
    """Return why the API is reached without a proxy; "" if it is not, or if its URL is malformed."""
    try:
        url = URL(base_url)
    except ValueError:
        return ""
    host = url.raw_host or ""
    if routes.proxy_for(url) is not None:
        return ""
    if is_here(host):
        return "it is this machine"
    if is_bypassed(host, url.port, routes.bypass):
        return "NO_PROXY lists it"
    return f"neither {url.scheme.upper()}_PROXY nor ALL_PROXY is set"


def _problem(proxy: ProxyAddress) -> str:
    """Return why there is no connection to the proxy, after a colon; "" if there is one."""
    try:
        socket.create_connection((proxy.host, proxy.port), SECONDS).close()
    except TimeoutError:
        return f": no connection within {SECONDS:g} s"
    except OSError as error:
        return reason_of(error) or ": its host name cannot be resolved"
    return ""


def look_at_certificates() -> Iterator[Finding]:
    """Check the files with certificates that the user's variables name, which OpenSSL ignores if they are missing."""
    message, _, remedy = problem_of_files().rpartition(": ")
    if message:
        yield Finding("certificates", False, message, remedy, Exit.USAGE)
    elif given := [f"{name} ({os.environ[name]})" for name in (FILE, FOLDER) if os.environ.get(name)]:
        say = "says" if len(given) == 1 else "say"
        yield Finding("certificates", True, f"{' and '.join(given)} {say} which certificates are trusted")
