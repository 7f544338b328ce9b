"""Read YAML as a stream of events. Only one value is in memory at a time."""

import re
from collections.abc import Callable
from typing import Any, BinaryIO

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)
from yaml.reader import ReaderError

from batchswap.errors import ManifestProblem
from batchswap.manifest.fields import shown
from batchswap.manifest.readers.yaml_nodes import Listing, Mapping, Node, Scalar, ScalarKind
from batchswap.manifest.sources import SNIFFED, utf8_problem

DEEPEST = 10
MOST_KEYS = 1000
TOO_MANY_KEYS = f"has a mapping with more than {MOST_KEYS:,} keys"
MOST_ANCHORS = 10_000
MOST_MERGED = 20
LONGEST_VALUE = 1 << 22
MOST_VALUES = 1_000_000
"""Most values inside one value, where 100 characters of text count as a value; also for all values with anchors."""
MERGE = "<<"
YAML_TAG = "tag:yaml.org,2002:"
TAGS = {None, "!", f"{YAML_TAG}str", f"{YAML_TAG}map", f"{YAML_TAG}seq"}
KINDS: dict[str, ScalarKind] = {
    f"{YAML_TAG}int": "number",
    f"{YAML_TAG}float": "number",
    f"{YAML_TAG}bool": "boolean",
    f"{YAML_TAG}timestamp": "date",
    f"{YAML_TAG}null": "null",
}
RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster


class Metered:
    """Limits the bytes between two events to LONGEST_VALUE, because the parser keeps them in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self.taken = 0
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.taken += len(data)
        if self.taken > LONGEST_VALUE:
            raise TooLongError
        return data


class TooLongError(Exception):
    """A value or a comment is too long."""


class Events:
    """The events of one YAML stream, and values built from them.

    Problems with a value are added to `wrong` as (line, message), and reading continues after it. Invalid YAML raises
    ManifestProblem. An alias returns the same object as its anchor, never a copy, so nested aliases use no memory.
    """

    def __init__(self, file: str, stream: BinaryIO, loader: Callable[[Any], Any] = LOADER) -> None:
        self.wrong: list[tuple[int, str]] = []
        self._file, self._stream = file, stream
        self._start = stream.tell()
        self._anchors: dict[str, Node] = {}
        self._left = self._most = self._left_for_anchors = MOST_VALUES
        self._last: Event | None = None
        self._metered = Metered(stream)
        try:
            self._get: Callable[[], Event] = loader(self._metered).get_event
        except yaml.YAMLError as error:
            raise self._problem(error) from None

    def next(self) -> Event:
        self._metered.taken = 0
        try:
            event = self._get()
        except yaml.YAMLError as error:
            raise self._problem(error) from None
        except TooLongError:
            longest = f"has a value of more than {LONGEST_VALUE:,} bytes; perhaps a quote is never closed"
            raise ManifestProblem(self._file, line_of(self._last), None, longest) from None
        self._last = event
        return event

    def _problem(self, error: yaml.YAMLError) -> ManifestProblem:
        if isinstance(error, ReaderError):
            if "control" not in error.reason and "special" not in error.reason:
                return utf8_problem(self._file, self._stream)
            return ManifestProblem(self._file, self._line_at(error.position), None, "has a control character")
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        why = getattr(error, "problem", None) or "the text cannot be read"
        return ManifestProblem(self._file, mark.line + 1 if mark else None, None, f"is not YAML: {why}")

    def _line_at(self, offset: int) -> int:
        self._stream.seek(self._start)
        line = 1
        while offset > 0 and (part := self._stream.read(min(offset, SNIFFED))):
            line += part.count(b"\n")
            offset -= len(part)
        return line

    def node(self, event: Event, depth: int = 0, most: int = MOST_VALUES) -> Node:
        """Return the value that begins with `event`. It may contain at most `most` values."""
        line = line_of(event)
        if depth == 0:
            self._left = self._most = most
        before = self._left
        self._left -= 1 + len(getattr(event, "value", "")) // 100
        if self._left < 0:
            raise ManifestProblem(self._file, line, None, f"has more than {self._most:,} values in one place")
        if isinstance(event, AliasEvent):
            return self._alias(str(event.anchor), line)
        if event.tag not in TAGS:  # type: ignore[attr-defined]
            self.wrong.append((line, f"the tag {shown(event.tag)} is not accepted; write the value as text"))  # type: ignore[attr-defined]
        made: Node
        if isinstance(event, ScalarEvent):
            made = Scalar(event.value, line, kind_of(event.value) if event.implicit[0] else "text")
        elif depth >= DEEPEST:
            self.wrong.append((line, "is nested too deep"))
            self.skip(event, keep_anchors=False)
            made = Listing([], line)
        elif isinstance(event, MappingStartEvent):
            made = self._mapping(line, depth)
        else:
            made = self._listing(line, depth)
        if event.anchor:  # type: ignore[attr-defined]
            self._left_for_anchors -= before - self._left
            self._remember(event.anchor, made, line)  # type: ignore[attr-defined]
        return made

    def _alias(self, anchor: str, line: int) -> Node:
        if anchor in self._anchors:
            return self._anchors[anchor]
        self.wrong.append((line, f"the alias {shown('*' + anchor)} has no anchor before it"))
        return Scalar("", line, "null")

    def _remember(self, anchor: str, made: Node, line: int) -> None:
        if len(self._anchors) >= MOST_ANCHORS and anchor not in self._anchors:
            raise ManifestProblem(self._file, line, None, f"has more than {MOST_ANCHORS:,} anchors")
        if self._left_for_anchors < 0:
            raise ManifestProblem(self._file, line, None, f"has more than {MOST_VALUES:,} values with anchors")
        self._anchors[anchor] = made

    def _listing(self, line: int, depth: int) -> Listing:
        items: list[Node] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return Listing(items, line)

    def _mapping(self, line: int, depth: int) -> Mapping:
        items: dict[str, Node] = {}
        merged: list[Node] = []
        while not isinstance(event := self.next(), MappingEndEvent):
            key = self.node(event, depth + 1)
            value = self.node(self.next(), depth + 1)
            if not isinstance(key, Scalar):
                self.wrong.append((key.line, "has a key that is not a text"))
            elif key.text == MERGE:
                merged.append(value)
            elif key.text in items:
                self.wrong.append((key.line, f"has the key {shown(key.text)} twice"))
            elif len(items) >= MOST_KEYS:
                raise ManifestProblem(self._file, key.line, None, TOO_MANY_KEYS)
            else:
                items[key.text] = value
        return Mapping(self._merge(items, merged, line) if merged else items, line)

    def _merge(self, items: dict[str, Node], merged: list[Node], line: int) -> dict[str, Node]:
        """Merge the mappings of `<<`. The mapping's own keys have priority."""
        named = [node for value in merged for node in (value.items if isinstance(value, Listing) else [value])]
        sources = [node for node in named if isinstance(node, Mapping)]
        if len(named) > MOST_MERGED or len(sources) < len(named):
            self.wrong.append((line, f'"{MERGE}" takes a mapping, or a list of at most {MOST_MERGED} mappings'))
            return items
        found: dict[str, Node] = {}
        for node in reversed(sources):
            found |= node.items
        if len(found) > MOST_KEYS:
            raise ManifestProblem(self._file, line, None, TOO_MANY_KEYS)
        return found | items

    def skip(self, event: Event, *, keep_anchors: bool = True) -> None:
        """Skip the value that begins with `event`. Anchors in it are kept by default."""
        open_ends = 0
        while True:
            if keep_anchors and isinstance(event, NodeEvent) and event.anchor and not isinstance(event, AliasEvent):
                self.node(event)
            elif isinstance(event, CollectionStartEvent):
                open_ends += 1
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                open_ends -= 1
            if open_ends == 0:
                return
            event = self.next()


def line_of(event: Event | None) -> int:
    return event.start_mark.line + 1 if event is not None and event.start_mark else 1


def kind_of(text: str) -> ScalarKind:
    """Return the type of an unquoted text in YAML 1.1. The first character excludes most types."""
    for tag, looks_like in RESOLVERS.get(text[:1], ()):
        if looks_like.match(text):
            return KINDS.get(tag, "text")
    return "text"
