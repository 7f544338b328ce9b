"""The API key, from CRUN_API_KEY or ~/.crun/.env. It is never an option and never part of a message."""

import logging
import os
import re
from functools import cache

import msgspec

from batchswap.errors import AccountRefused
from batchswap.events import LogEvent, report
from batchswap.operations.user_files import NotReadable, at_home, exposed, small_text

VARIABLE = "CRUN_API_KEY"
HOW = f"set {VARIABLE}, or write the line {VARIABLE}=ak_… into ~/.crun/.env"
_LINE = re.compile(rf"\s*(?:export\s+)?{VARIABLE}\s*=\s*(.*?)\s*")
_FORM = re.compile(r"ak_[!-~]{32}")


class Key(msgspec.Struct, frozen=True):
    """A key and the place where it was found. `repr` does not show the key."""

    text: str
    place: str

    def __repr__(self) -> str:
        return f"Key(place={self.place!r})"


def parse_env(text: str) -> str | None:
    """Return the value of the last CRUN_API_KEY line. It may have `export`, quotes and a comment at the end."""
    found = None
    for line in text.removeprefix("\ufeff").splitlines():
        if match := _LINE.fullmatch(line):
            found = _unquoted(match[1])
    return found


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in ("'", '"'):
        return value[1:].partition(quote)[0]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


def find_key(given: Key | None = None, *, strict: bool = True) -> Key:
    """Return the key: `given`, or the user's own. `strict`: it must have the form of the vendor's keys.

    Raise AccountRefused if there is no valid key.
    """
    key = given or _look()
    if key is None:
        where = HOW if at_home("~") else f"set {VARIABLE} (there is no home directory, and so no ~/.crun/.env)"
        raise AccountRefused(f"there is no API key: {where}")
    if strict and not _FORM.fullmatch(key.text):
        wrong = _what_is_wrong(key.text)
        raise AccountRefused(
            f"the API key in {key.place} is malformed ({wrong}): a key is ak_ and 32 characters; {HOW}"
        )
    if not re.fullmatch(r"[!-~]{1,512}", key.text):
        raise AccountRefused(f"the API key in {key.place} is malformed ({_what_is_wrong(key.text)}); {HOW}")
    return key


def _look() -> Key | None:
    if text := os.environ.get(VARIABLE, "").strip():
        return Key(text, f"the environment ({VARIABLE})")
    path = at_home("~/.crun/.env")
    if path is None:
        return None
    try:
        text = parse_env(small_text(path)) or ""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotReadable as error:
        raise AccountRefused(f"{path} {error}") from None
    if text and (words := exposed(path)):
        _warn_once(words)
    return Key(text, str(path)) if text else None


def _what_is_wrong(text: str) -> str:
    if not all("!" <= c <= "~" for c in text):
        return "it has a blank or another invalid character"
    if not text.startswith("ak_"):
        return "it does not begin with ak_"
    return f"it has {len(text) - 3} characters after ak_"


@cache
def _warn_once(words: str) -> None:
    report(LogEvent.KEY_EXPOSED, words, logging.WARNING)
