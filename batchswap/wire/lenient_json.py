"""JSON as a lenient reader takes it: a field that cannot be read is missing, the others count.

The strict reader comes first. What it refuses is read token by token, without recursion: NaN, Infinity, numbers out of
range, a byte order mark, UTF-16 and UTF-32, bytes that are no characters, half of a surrogate pair, control characters
in strings, nesting of any depth, and anything behind the document. Quotes, commas and brackets must be right.
"""

import json
import re
from contextlib import suppress
from enum import Enum
from math import isfinite
from typing import Any

import msgspec

from batchswap.errors import WireError

DEEPEST = 64
"""Levels that are kept. Arrays and objects further down are missing."""
LONGEST_NUMBER = 400
"""Digits and signs of a number. A longer one is missing."""

_TOKEN = re.compile(r'[\s\0\ufeff]*(?:([\[\]{},:])|("[^"\\]*(?:\\.[^"\\]*)*")|([^\s\0\[\]{},:"]+))', re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TASK_ID = re.compile(r'\\*"task_id\\*"\s*:\s*\\*"([^"\\]{1,256})\\*"')
_WORDS = {"true": True, "false": False, "null": None}


class _Next(Enum):
    """What may come next."""

    VALUE = "a value"
    FIRST_VALUE = "a value or ]"
    KEY = "a key"
    FIRST_KEY = "a key or }"
    COLON = "a colon"
    COMMA = "a comma or the end"


class _Missing(Exception):
    """A value that cannot be read."""


def read(body: bytes) -> Any:
    """Return the JSON value at the start of `body`. Raises WireError where there is none, or not all of one."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reader = _Reader()
        if not reader.take(decode(body)):
            raise WireError("the answer is not JSON") from None
        return reader.root


def decode(body: bytes) -> str:
    """Return the text of JSON in any of its encodings. Bytes that are no characters become U+FFFD."""
    return body.decode(json.detect_encoding(body), "replace")


def find_task_id(body: bytes) -> str:
    """Return the first "task_id" in any text, such as an answer that was cut off. "" where there is none."""
    found = _TASK_ID.search(decode(body))
    return found[1] if found else ""


class _Reader:
    """Builds the value while the tokens come. Recursion would end at some depth; this does not."""

    def __init__(self) -> None:
        self.root: Any = None
        self._has_root = False
        self._open: list[tuple[str, dict[str, Any] | list[Any]]] = []
        """The closing bracket and the content of each open array and object, the outermost first."""
        self._keys: list[str | None] = []
        self._next = _Next.VALUE

    def take(self, text: str) -> bool:
        """Read one value from the start of the text. False: it is not all there."""
        position = 0
        while found := _TOKEN.match(text, position):
            position = found.end()
            if found[3] and position == len(text) and self._open:
                return False  # it may be the start of a longer one
            if not self._step(*found.groups()):
                return False
            if not self._open:
                return self._has_root
        return False

    def _step(self, sign: str | None, string: str | None, word: str | None) -> bool:
        """Take one token. False: it must not be there."""
        if sign is not None and self._closes(sign):
            self._open.pop()
            self._keys.pop()
            self._next = _Next.COMMA
            return True
        match self._next:
            case _Next.VALUE | _Next.FIRST_VALUE:
                return self._take_value(sign, string, word)
            case _Next.KEY | _Next.FIRST_KEY if string is not None:
                self._keys[-1] = None
                with suppress(_Missing):
                    self._keys[-1] = _string(string)
                self._next = _Next.COLON
                return True
            case _Next.COLON if sign == ":":
                self._next = _Next.VALUE
                return True
            case _Next.COMMA if sign == ",":
                self._next = _Next.KEY if self._open[-1][0] == "}" else _Next.VALUE
                return True
        return False

    def _closes(self, sign: str) -> bool:
        may_close = self._next in (_Next.COMMA, _Next.FIRST_KEY, _Next.FIRST_VALUE)
        return may_close and bool(self._open) and sign == self._open[-1][0]

    def _take_value(self, sign: str | None, string: str | None, word: str | None) -> bool:
        if sign in ("{", "["):
            is_object = sign == "{"
            content: dict[str, Any] | list[Any] = {} if is_object else []
            self._place(content)
            self._open.append(("}" if is_object else "]", content))
            self._keys.append(None)
            self._next = _Next.FIRST_KEY if is_object else _Next.FIRST_VALUE
            return True
        if sign is not None:
            return False
        with suppress(_Missing):
            self._place(_string(string) if string is not None else _word(word or ""))
        self._next = _Next.COMMA
        return True

    def _place(self, value: Any) -> None:
        if not self._open:
            self.root, self._has_root = value, True
        elif len(self._open) <= DEEPEST:
            content, key = self._open[-1][1], self._keys[-1]
            if isinstance(content, list):
                content.append(value)
            elif key is not None:
                content[key] = value


def _string(token: str) -> str:
    """Return the text within the quotes. Raises _Missing for an escape that is none."""
    try:
        return _HALF_PAIR.sub("\ufffd", json.loads(token, strict=False))
    except ValueError:
        raise _Missing from None


def _word(token: str) -> Any:
    """Raises _Missing for what is neither a number nor one of the three words."""
    if token in _WORDS:
        return _WORDS[token]
    found = _NUMBER.fullmatch(token) if len(token) <= LONGEST_NUMBER else None
    if found is None:
        raise _Missing
    if not (found[1] or found[2]):
        return int(token)
    value = float(token)
    if not isfinite(value):
        raise _Missing
    return value
