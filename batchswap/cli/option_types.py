"""Types of options: functions that parse a value, and raise ValueError with a sentence for an invalid one."""

import math
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


_DAYS = 4
"""Days in which a time of day comes at least once, even if the time zone of an island skips a day."""

LONGEST_PERIOD = 366 * _UNITS["d"]
LARGEST = 2**63 - 1
"""Bytes of the largest possible file."""


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `45m`, `6h`, `1h30m` or `2d`; a bare number is seconds. Raise ValueError."""
    compact = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration; write 45s, 90m, 6h or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def parse_rate(text: str) -> tuple[int, float] | None:
    """Return the requests and seconds of `20/10s` or `20/1m`; None for `none`. Raise ValueError."""
    if text.strip().lower() == "none":
        return None
    number, slash, period = text.partition("/")
    mistake = f"{text!r} is not a rate; write REQUESTS/PERIOD such as 20/10s or 20/1m, or none"
    if not slash or not period.strip() or not number.strip().isdecimal():
        raise ValueError(mistake)
    try:
        seconds = parse_duration(period if re.search(r"\d", period) else f"1{period.strip()}")
    except ValueError:
        raise ValueError(mistake) from None
    if len(number.strip()) > 9:
        raise ValueError(f"{_short(text)} limits nothing; write none")
    if seconds > LONGEST_PERIOD:
        raise ValueError(f"{_short(text)} has a period of more than a year; write one up to 366d")
    if not int(number) or not seconds:
        raise ValueError(f"{text!r} allows no request; a rate needs at least 1 request in a period above 0")
    return int(number), seconds


def parse_size(text: str) -> int:
    """Return the bytes of `1GB`, `500 MB`, `1GiB` or `1048576`. Raise ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _SIZES:
        raise ValueError(f"{text!r} is not a size; write 1GB, 500MB or 1GiB")
    count = float(found[1]) * _SIZES[found[2].upper()]
    if count > LARGEST:
        raise ValueError(f"{_short(text)} is larger than any disk")
    return int(count)


def parse_credits(text: str) -> float:
    """Return a number of credits, 0 or more. Raise ValueError."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not math.isfinite(found) or found < 0.0:
        raise ValueError(f"{text!r} is not a number of credits; write 0 or more, such as 250 or 12.5")
    return found


def parse_count(text: str, least: int) -> int:
    """Return a whole number, `least` or more. Raise ValueError."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text) or int(text) < least:
        raise ValueError(f"{text!r} is not a whole number of {least} or more")
    return int(text)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:8080` or `[::1]:8080`; port 0 means any free one. Raise ValueError."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/]+):(\d{1,5})", text.strip())
    if found is None or int(found[2]) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return found[1].strip("[]"), int(found[2])


def next_time_of_day(text: str, now: float) -> float:
    """Return the Unix time of the next local `HH:MM` after `now`. Raise ValueError."""
    found = re.fullmatch(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time of day; write HH:MM, such as 06:30")
    # Naive local times, so that a change to summer time does not move the hour.
    here = datetime.fromtimestamp(now)  # noqa: DTZ006
    wanted = here.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return next(at for days in range(_DAYS) for at in _moments(wanted + timedelta(days=days)) if at > now)


def _moments(wanted: datetime) -> list[float]:
    """Return when local clocks show this time: twice when they are set back.

    When they are set forward and never show it, return the moment of the change.
    """
    first, second = (wanted.replace(fold=fold).timestamp() for fold in (0, 1))
    if first <= second:
        return [first, second]
    before, after = second, first
    while after - before > 1.0:
        middle = (before + after) // 2
        is_after = datetime.fromtimestamp(middle) >= wanted.replace(fold=0)  # noqa: DTZ006
        before, after = (before, middle) if is_after else (middle, after)
    return [after]


def parse_run(text: str) -> str:
    """Return the number of a run, `last` or `all`. Raise ValueError."""
    word = text.strip().lower()
    if word in ("last", "all"):
        return word
    if not re.fullmatch(r"[0-9]{1,9}", word) or not int(word):
        raise ValueError(f"{_short(text)} is not a run; write its number, last or all")
    return str(int(word))


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """An option type with one function that parses the text."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Tag(click.types.StringParamType):
    """A tag. Several tags in one variable are separated by `;`, as in a manifest, because a tag may have blanks."""

    name = "TAG"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [tag for part in rv.split(";") if (tag := part.strip())]


NO_RATE = (0, 0.0)
"""The value of `--rate none`. None would mean that the option was not given."""

RATE = Parsed("N/PERIOD", lambda text: parse_rate(text) or NO_RATE)
DURATION = Parsed("DURATION", parse_duration)
SIZE = Parsed("SIZE", parse_size)
CREDITS = Parsed("CREDITS", parse_credits)
ADDRESS = Parsed("HOST:PORT", parse_address)
TIME_OF_DAY = Parsed("HH:MM", lambda text: next_time_of_day(text, time.time()))
COUNT = Parsed("N", lambda text: parse_count(text, 0))
TAG = Tag()
RUN = Parsed("N|last|all", parse_run)
POSITIVE = Parsed("N", lambda text: parse_count(text, 1))
