"""Read a JSON document as a stream of YAML events, so that one reader serves both formats."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

from yaml.error import Mark
from yaml.events import (
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from batchswap.errors import ManifestProblem
from batchswap.manifest.fields import shown

BLOCK = 1 << 16
LONGEST_TEXT = 1 << 20
DEEPEST = 50
BLANK = re.compile(r"[ \t\r\n]*")
TOKEN = re.compile(r"""[{}\[\],:]|"(?:[^"\\\x00-\x1f]++|\\.)*+"|[\w.+-]++""")
BARE = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null", re.ASCII)
END = ""


class JsonEvents:
    """The events of one document. Raises ManifestProblem for invalid JSON, UnicodeDecodeError for invalid bytes."""

    def __init__(self, file: str, stream: BinaryIO) -> None:
        self._file, self._stream = file, stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._is_whole = "", 0, False
        self._mark = Mark(file, 0, 0, 0, None, 0)
        self._events = self._document()

    def get_event(self) -> Event:
        return next(self._events)

    def _document(self) -> Iterator[Event]:
        yield DocumentStartEvent(self._mark)
        if (token := self._token()) != END:
            yield from self._value(token, 0)
            if self._token() != END:
                self._fail("has text after its end; if each line is an object, use --format jsonl")
        yield StreamEndEvent(self._mark, self._mark)

    def _value(self, token: str, depth: int) -> Iterator[Event]:
        if depth > DEEPEST:
            self._fail("is nested too deep")
        if token == "[":  # noqa: S105 - a token of JSON
            yield SequenceStartEvent(None, None, True, self._mark)
            yield from self._items(depth)
            yield SequenceEndEvent(self._mark)
        elif token == "{":  # noqa: S105
            yield MappingStartEvent(None, None, True, self._mark)
            yield from self._pairs(depth)
            yield MappingEndEvent(self._mark)
        elif token[:1] in "]},:":
            self._fail(f"is not JSON: a value is missing before {shown(token)}" if token else CUT_OFF)
        else:
            yield self._scalar(token)

    def _items(self, depth: int) -> Iterator[Event]:
        token = self._token()
        while token != "]":  # noqa: S105
            yield from self._value(token, depth + 1)
            token = self._after_comma("]")

    def _pairs(self, depth: int) -> Iterator[Event]:
        token = self._token()
        while token != "}":  # noqa: S105
            if token[:1] != '"':
                self._fail(f"is not JSON: {shown(token)} is not a key in double quotes" if token else CUT_OFF)
            yield self._scalar(token)
            if (colon := self._token()) != ":":
                self._fail(f"is not JSON: a colon is missing before {shown(colon)}" if colon else CUT_OFF)
            yield from self._value(self._token(), depth + 1)
            token = self._after_comma("}")

    def _after_comma(self, end: str) -> str:
        """Return the first token of the next member, or `end`."""
        if (token := self._token()) == end:
            return token
        if token != ",":  # noqa: S105
            self._fail(f'is not JSON: "," or "{end}" is missing before {shown(token)}' if token else CUT_OFF)
        if (token := self._token()) == end:
            self._fail(f'is not JSON: there is a comma before "{end}"')
        return token

    def _scalar(self, token: str) -> ScalarEvent:
        is_text = token[0] == '"'
        if not is_text and not BARE.fullmatch(token):
            self._fail(f"is not JSON at {shown(token)}")
        try:
            text = json.loads(token) if is_text else token
        except ValueError:
            self._fail(f"is not JSON: unknown escape sequence in {shown(token)}")
        return ScalarEvent(None, None, (not is_text, is_text), text, self._mark)

    def _token(self) -> str:
        """Return the next token; END after the last one."""
        while (begin := self._skip_blanks()) == len(self._text) and not self._is_whole:
            self._read_on(begin)
        while not (found := TOKEN.match(self._text, begin)) or found.end() == len(self._text):
            if self._is_whole or len(self._text) - begin > LONGEST_TEXT:
                break
            self._read_on(begin)
            begin = 0
        if (found.end() if found else len(self._text)) - begin > LONGEST_TEXT:
            self._fail(f"has a text of more than {LONGEST_TEXT:,} characters; perhaps a quote is never closed")
        if found is None:
            if begin < len(self._text):
                self._fail(f"is not JSON at {shown(self._text[begin : begin + 20])}")
            return END
        self._at = found.end()
        return found[0]

    def _skip_blanks(self) -> int:
        found = BLANK.match(self._text, self._at)
        self._at = end = found.end() if found else self._at
        if found and (lines := found[0].count("\n")):
            self._mark = Mark(self._file, 0, self._mark.line + lines, 0, None, 0)
        return end

    def _read_on(self, begin: int) -> None:
        """Drop the text before `begin`, and read at least as much as is left."""
        left = self._text[begin:]
        data = self._stream.read(max(BLOCK, len(left)))
        self._text, self._at = left + self._decoder.decode(data, final=not data), 0
        self._is_whole = not data

    def _fail(self, sentence: str) -> NoReturn:
        raise ManifestProblem(self._file, self._mark.line + 1, None, sentence)


CUT_OFF = "is not JSON: the text ends too early"
