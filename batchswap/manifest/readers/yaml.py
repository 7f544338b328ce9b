"""Read a YAML or JSON manifest: name, defaults, tasks and matrix in any order, with one task in memory at a time."""

from collections.abc import Iterator

import msgspec
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from batchswap.errors import ManifestProblem
from batchswap.manifest.fields import is_kept, nearest, shown
from batchswap.manifest.readers.matrix import Folder, expanded
from batchswap.manifest.readers.yaml_events import MOST_KEYS, MOST_VALUES, TOO_MANY_KEYS, Events, line_of
from batchswap.manifest.readers.yaml_nodes import (
    NO_FIELDS,
    Listing,
    MappingFields,
    Node,
    Scalar,
    a_node,
    filled,
    task_fields,
)
from batchswap.manifest.rows import Complain, RawRow

MOST_IN_A_TASK = 10_000
KEYS = ("name", "defaults", "tasks", "matrix")


class Prologue(msgspec.Struct, frozen=True):
    """The settings for all tasks of a manifest."""

    name: str | None = None
    defaults: MappingFields = NO_FIELDS


class Document:
    """One pass over a manifest's events."""

    def __init__(self, file: str, events: Events, complain: Complain) -> None:
        self._file, self._complain = file, complain
        self._events = events

    def prologue(self) -> Prologue:
        """Return name and defaults. Read the whole file unless both come before the tasks."""
        found: dict[str, Node] = {}
        problems = []
        for key, _, event in self._top():
            if key in ("name", "defaults") and key not in found:
                self._events.wrong.clear()
                found[key] = self._events.node(event)
                problems += [(at, key, sentence) for at, sentence in self._events.wrong]
            else:
                self._events.skip(event)
            if len(found) == 2:
                break
        for problem in problems:
            self._complain(*problem)
        return Prologue(self._name(found.get("name")), self._defaults(found.get("defaults")))

    def _name(self, node: Node | None) -> str | None:
        if node is None or (isinstance(node, Scalar) and not node.text.strip()):
            return None
        if not isinstance(node, Scalar):
            self._complain(node.line, "name", f"is {a_node(node)}, not the name of the batch")
            return None
        return node.text.strip()

    def _defaults(self, node: Node | None) -> MappingFields:
        if node is None or (isinstance(node, Scalar) and node.kind == "null"):
            return NO_FIELDS
        made = task_fields(node, self._complain, "defaults.")
        if made is None:
            return NO_FIELDS
        for field in {"id", "output"} & set(made.values):
            self._complain(node.line, f"defaults.{field}", "cannot be a default: it must differ between tasks")
        return made

    def records(self, defaults: MappingFields, folder: Folder) -> Iterator[RawRow]:
        """Yield all tasks, including those of the matrix, in the order of the file. Problems go to `complain`."""
        seen: dict[str, int] = {}
        for key, line, event in self._top():
            if key in seen:
                self._complain(line, key, f"occurs twice; it is also in line {seen[key]}")
                self._events.skip(event)
                continue
            seen[key] = line
            if len(seen) > MOST_KEYS:
                raise ManifestProblem(self._file, line, None, TOO_MANY_KEYS)
            if key == "tasks":
                yield from self._tasks(event, defaults)
            elif key == "matrix":
                node = self._whole(event, key)
                yield from expanded(node, defaults, folder, self._complain) if node else ()
            else:
                self._events.skip(event)
                if key not in KEYS and not is_kept(key):
                    self._complain(
                        line, shown(key, 60)[1:-1], f'is not known here; did you mean "{nearest(key, KEYS)}"?'
                    )
        if all(key in ("name", "defaults") or is_kept(key) for key in seen):
            self._complain(None, None, "has neither tasks nor a matrix")

    def _whole(self, event: Event, field: str, most: int = MOST_VALUES) -> Node | None:
        """Return the value, or None if it contains a problem, which is reported."""
        self._events.wrong.clear()
        node = self._events.node(event, most=most)
        for line, sentence in self._events.wrong:
            self._complain(line, field or None, sentence)
        return None if self._events.wrong else node

    def _tasks(self, event: Event, defaults: MappingFields) -> Iterator[RawRow]:
        if isinstance(event, SequenceStartEvent) and not event.anchor:
            while not isinstance(inner := self._events.next(), SequenceEndEvent):
                yield from self._record(self._whole(inner, "", MOST_IN_A_TASK), defaults)
            return
        node = self._whole(event, "tasks")
        if isinstance(node, Listing):
            for item in node.items:
                yield from self._record(item, defaults)
        elif node is not None and not (isinstance(node, Scalar) and node.kind == "null"):
            self._complain(node.line, "tasks", f"is {a_node(node)}, not a list of tasks")

    def _record(self, node: Node | None, defaults: MappingFields) -> Iterator[RawRow]:
        if node is not None and (own := task_fields(node, self._complain)) is not None:
            yield filled(node.line, own, defaults)

    def _top(self) -> Iterator[tuple[str, int, Event]]:
        """Yield (key, line, first event of the value). The caller reads the value before the next key."""
        root = self._root()
        if isinstance(root, SequenceStartEvent):
            yield "tasks", line_of(root), root
        else:
            while not isinstance(event := self._events.next(), MappingEndEvent):
                key = self._events.node(event)
                name = key.text if isinstance(key, Scalar) else ""
                yield name, key.line, self._events.next()
        self._end()

    def _root(self) -> Event:
        event = self._events.next()
        while isinstance(event, StreamStartEvent | DocumentStartEvent):
            event = self._events.next()
        if isinstance(event, StreamEndEvent):
            raise ManifestProblem(self._file, None, None, "is empty")
        if not isinstance(event, MappingStartEvent | SequenceStartEvent):
            raise ManifestProblem(self._file, line_of(event), None, "is not a manifest: a mapping with tasks is needed")
        return event

    def _end(self) -> None:
        while not isinstance(event := self._events.next(), StreamEndEvent):
            if not isinstance(event, DocumentEndEvent):
                raise ManifestProblem(self._file, line_of(event), None, "has several documents; only one is allowed")
