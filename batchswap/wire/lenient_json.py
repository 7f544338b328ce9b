"""A lenient JSON reader: a field that cannot be read counts as missing, and the other fields are kept.

A strict reader is tried first. The lenient one reads token by token. It accepts NaN, Infinity, numbers out of range,
a byte order mark, UTF-16 and UTF-32, invalid bytes, half of a surrogate pair, control characters in strings, any
depth of nesting, and any text after the document. Quotes, commas and brackets must be correct.
"""

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any

import msgspec

from batchswap.errors import WireError

DEEPEST = 64
"""Levels of nesting that are kept. Deeper arrays and objects count as missing."""
LONGEST_NUMBER = 400
"""Characters of a number. A longer one counts as missing."""

_TOKEN = re.compile(r'[\s\0\ufeff]*(?:([\[\]{},:])|("[^"\\]*(?:\\.[^"\\]*)*")|([^\s\0\[\]{},:"]+))', re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TASK_ID = re.compile(
    r"""(?<![a-z0-9_])task_?id\\*["']?\s*[:=]\s*(?:\\*["']\s*([^"'\\]{1,1000}?)\s*\\*["']|([0-9]{1,64})(?=[\s,}\]]))""",
    re.IGNORECASE,
)
_WORDS = ("true", "false", "null")
_CLOSING = {"{": "}", "[": "]"}
_MISSING = "\ud800"
"""Marks values that cannot be read. It is half of a surrogate pair, which no other text contains at this point."""


def read(body: bytes) -> Any:
    """Return the JSON value at the start of `body`. Raise WireError if there is no complete value."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        text = "".join(_repaired(decode(body)))
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_missing)
    except ValueError:
        found = _MISSING
    if found == _MISSING:
        raise WireError("the answer is not JSON")
    return _present(found)


def decode(body: bytes) -> str:
    """Decode JSON in any of its encodings. Invalid bytes become U+FFFD."""
    return body.decode(json.detect_encoding(body), "replace")


def find_task_id(body: bytes) -> str:
    """Return the first "task_id" in any text, such as a truncated answer; "" if there is none.

    It may be a number or a text that is no valid task id, which is evidence all the same.
    """
    found = _TASK_ID.search(decode(body))
    return found[1] or found[2] if found else ""


def _repaired(text: str) -> Iterator[str]:
    """Yield the tokens of the first value, NaN for those that cannot be read. Raise ValueError if it is incomplete."""
    closing: list[str] = []
    position = 0
    while found := _TOKEN.match(text, position):
        position = found.end()
        sign, string, word = found.groups()
        if sign in ("{", "["):
            closing.append(_CLOSING[sign])
            if len(closing) == DEEPEST + 1:
                yield "NaN"
        if len(closing) <= DEEPEST:
            yield sign or (_string(string) if string else _word(word))
        if sign in ("}", "]") and (not closing or closing.pop() != sign):
            raise ValueError("unmatched bracket")
        if not closing:
            return
    raise ValueError("the text ends within the value")


def _string(token: str) -> str:
    """Return a valid JSON string. A string with an unknown escape becomes _MISSING."""
    try:
        return json.dumps(_HALF_PAIR.sub("\ufffd", json.loads(token, strict=False)))
    except ValueError:
        return json.dumps(_MISSING)


def _word(token: str) -> str:
    """Return true, false, null or a number; NaN for anything else. (NaN cannot be a key.)"""
    if token in _WORDS:
        return token
    found = _NUMBER.fullmatch(token) if len(token) <= LONGEST_NUMBER else None
    if found is None or not isfinite(float(token)):
        return "NaN"
    return repr(float(token)) if found[1] or found[2] else str(int(token))


def _missing(_: str) -> str:
    return _MISSING


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: _present(value) for key, value in pairs if _MISSING not in (key, value)}


def _present(value: Any) -> Any:
    """Remove the missing elements of an array. Those of objects are removed already."""
    return [_present(each) for each in value if each != _MISSING] if isinstance(value, list) else value
