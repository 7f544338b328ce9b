"""YAML and JSON values with their lines, and their conversion to the record of a task."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from batchswap.errors import Flaw
from batchswap.manifest import fields
from batchswap.manifest.fields import FACE_FIELD, canonical, shown
from batchswap.manifest.rows import Complain, RawRow

ScalarKind = Literal["text", "number", "boolean", "date", "null"]
A_KIND = {"number": "a number", "boolean": "true or false", "date": "a date", "null": "nothing", "text": "text"}
MOST_FLAWS = 20
INPUTS = {"video", "image", "face"}


class Scalar(msgspec.Struct, frozen=True):
    """One value: its text as written, and its type in YAML or JSON."""

    text: str
    line: int
    kind: ScalarKind = "text"


class Listing(msgspec.Struct, frozen=True):
    items: "list[Node]"
    line: int


class Mapping(msgspec.Struct, frozen=True):
    """Keys with their values, without duplicate keys."""

    items: "dict[str, Node]"
    line: int


Node = Scalar | Listing | Mapping


class Flaws(Exception):
    """All problems of one task, as (field as written, message)."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(found)
        self.found = found


class MappingFields(msgspec.Struct, frozen=True):
    """The fields of one mapping, before the defaults are added."""

    values: dict[str, str]
    tags: tuple[str, ...] | None = None
    spelled: dict[str, str] = {}


NO_FIELDS = MappingFields({})


def to_fields(node: Node) -> MappingFields:
    """Return the fields of a task. Raise Flaws for unknown or duplicate fields, and for wrong types."""
    if not isinstance(node, Mapping):
        raise Flaws([("", f"is {a_node(node)}; a task is a mapping, for example {{video: …, face: …}}")])
    values: dict[str, str] = {}
    tags: tuple[str, ...] | None = None
    spelled: dict[str, str] = {}
    wrong: list[tuple[str, str]] = []
    for name, value in node.items.items():
        if len(wrong) >= MOST_FLAWS:
            wrong.append(("", "has more keys with problems"))
            break
        try:
            tags = to_tags(value) if name == "tags" else tags
            for field, text in named_texts(name, value):
                if field in values:
                    same = spelled.get(field, field)
                    wrong.append((name, f'means the same as "{same}": only one of them can be given'))
                values[field] = text
                if field != name:
                    spelled[field] = name
        except Flaw as flaw:
            wrong.append((fields.shown(name, 60)[1:-1], str(flaw)))
    if wrong:
        raise Flaws(wrong)
    return MappingFields(values, tags, spelled)


def task_fields(node: Node, complain: Complain, prefix: str = "") -> MappingFields | None:
    """Return the fields of a mapping; None if it has problems, which go to `complain`."""
    try:
        return to_fields(node)
    except Flaws as flaws:
        for field, sentence in flaws.found:
            complain(node.line, f"{prefix}{field}".removesuffix(".") or None, sentence)
    return None


def named_texts(name: str, value: Node) -> Iterator[tuple[str, str]]:
    """Yield (field, text) of one key: several for faces, none for an empty value. Raise Flaw."""
    field = canonical(name)
    if field is None:
        raise Flaw(fields.unknown(name))
    if field == "faces":
        yield from face_texts(value)
    elif field != "tags" and (text := to_text(field, value)):
        yield field, text


def face_texts(value: Node) -> Iterator[tuple[str, str]]:
    if isinstance(value, Scalar) and value.kind == "null":
        return
    if not isinstance(value, Mapping):
        raise Flaw(f"is {a_node(value)}, not a mapping from detected face id to new face, for example {{0: anna.jpg}}")
    for number, face in value.items.items():
        name = f"face_{number}"
        if not FACE_FIELD.fullmatch(name):
            raise Flaw(f"has the face id {shown(number)}; ids are numbers from 0 to 999")
        if text := to_text("face", face):
            yield name, text


def to_text(field: str, value: Node) -> str:
    """Return the stripped text of a field; "" for an empty one. Raise Flaw."""
    if not isinstance(value, Scalar):
        raise Flaw(f"is {a_node(value)}, not a single text")
    if value.kind == "null":
        return ""
    if value.kind != "text" and (field in INPUTS or FACE_FIELD.fullmatch(field)):
        raise Flaw(
            f"is {A_KIND[value.kind]} ({shown(value.text)}), not a URL or path; if it is a path, put it in quotes"
        )
    return value.text.strip()


def to_tags(value: Node) -> tuple[str, ...] | None:
    """Return the tags of a list, or of one text with ";" between them; None if absent. Raise Flaw."""
    if isinstance(value, Scalar):
        return None if value.kind == "null" else fields.split_tags(value.text) or None
    if isinstance(value, Mapping):
        raise Flaw("is a mapping, not a list of tags, for example [de, hero]")
    if len(value.items) > fields.MOST_TAGS:
        raise Flaw(f"has {len(value.items):,} tags; at most {fields.MOST_TAGS} are allowed")
    return tuple(dict.fromkeys(tag for item in value.items if (tag := to_text("tags", item))))


def a_node(node: Node) -> str:
    if isinstance(node, Scalar):
        return A_KIND[node.kind] if node.kind == "null" else f"{A_KIND[node.kind]} ({shown(node.text)})"
    return "a list" if isinstance(node, Listing) else "a mapping"


def filled(line: int, own: MappingFields, defaults: MappingFields) -> RawRow:
    """Return the record of a task. Defaults fill in fields that it does not have."""
    tags = defaults.tags if own.tags is None else own.tags
    if not defaults.values:
        return RawRow(line, own.values, tags or (), own.spelled)
    given = {family(name) for name in own.values}
    values = {name: text for name, text in defaults.values.items() if family(name) not in given}
    return RawRow(line, {**values, **own.values}, tags or (), {**defaults.spelled, **own.spelled})


def family(field: str) -> str:
    """Return the group of a field. A task's own field overrides the defaults for all fields of its group."""
    if field == "image":
        return "video"
    return "face" if FACE_FIELD.fullmatch(field) else field
