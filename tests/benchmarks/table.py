"""Goals, measured figures, and the table for `batchswap/docs/performance.md`."""

import platform
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from os import cpu_count
from statistics import median
from typing import Any, NamedTuple

PACKAGES = ("aiohttp", "aiolimiter", "sqlite-utils", "pyyaml", "msgspec", "click")


class Goal(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    goal: str
    met: bool


def at_most(what: str, measured: float, goal: float, unit: str = "", detail: str = "") -> Goal:
    return Goal(what, f"{measured:.4g}{unit}{detail}", f"≤ {goal:g}{unit}", measured <= goal)


def at_least(what: str, measured: float, goal: float, unit: str = "", detail: str = "") -> Goal:
    return Goal(what, f"{measured:.4g}{unit}{detail}", f"≥ {goal:g}{unit}", measured >= goal)


def middle(found: Iterable[Any], name: str) -> float:
    """Return the median of one figure over the reports of several servers."""
    return float(median(each[name] for each in found))


def machine() -> str:
    """Describe the machine and the versions of the programs."""
    names = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{platform.machine()}, {cpu_count()} cores, Linux {platform.release()}, Python {sys.version.split()[0]}, "
        f"SQLite {sqlite3.sqlite_version}, {names}"
    )


def markdown(goals: Iterable[Goal]) -> Iterator[str]:
    yield "| what | measured | goal | |"
    yield "| --- | --- | --- | --- |"
    for each in goals:
        yield f"| {each.what} | {each.measured} | {each.goal} | {'met' if each.met else '**not met**'} |"
