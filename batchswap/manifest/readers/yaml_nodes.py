"""Values with lines, as YAML and JSON bring them, and the record of one task made from them."""

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
    """One value: its text as written, and what YAML or JSON would take it for."""

    text: str
    line: int
    kind: ScalarKind = "text"


class Listing(msgspec.Struct, frozen=True):
    items: "list[Node]"
    line: int


class Mapping(msgspec.Struct, frozen=True):
    """Keys with their values; no key is there twice."""

    items: "dict[str, Node]"
    line: int


Node = Scalar | Listing | Mapping


class Flaws(Exception):
    """Everything that is wrong with one task: (field as written, sentence)."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(found)
        self.found = found


class MappingFields(msgspec.Struct, frozen=True):
    """The fields of one mapping: what a RawRow wants, before defaults are filled in."""

    values: dict[str, str]
    tags: tuple[str, ...] | None = None
    spelled: dict[str, str] = {}


NO_FIELDS = MappingFields({})


def to_fields(node: Node) -> MappingFields:
    """Raises Flaws for fields that are unknown, there twice or of a wrong type."""
    if not isinstance(node, Mapping):
        raise Flaws([("", f"is {a_node(node)}; a task is a mapping, for example {{video: …, face: …}}")])
    values: dict[str, str] = {}
    tags: tuple[str, ...] | None = None
    spelled: dict[str, str] = {}
    wrong: list[tuple[str, str]] = []
    for name, value in node.items.items():
        if len(wrong) >= MOST_FLAWS:
            wrong.append(("", "has more keys that are wrong"))
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
    """Return the fields of a mapping; None when something is wrong with it, which goes to `complain`."""
    try:
        return to_fields(node)
    except Flaws as flaws:
        for field, sentence in flaws.found:
            complain(node.line, f"{prefix}{field}".removesuffix(".") or None, sentence)
    return None


def named_texts(name: str, value: Node) -> Iterator[tuple[str, str]]:
    """(field, text) of one key; several for faces, none for what is empty. Raises Flaw."""
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
        raise Flaw(
            f"is {a_node(value)}; faces are a mapping of detected face id to new face, for example {{0: anna.jpg}}"
        )
    for number, face in value.items.items():
        name = f"face_{number}"
        if not FACE_FIELD.fullmatch(name):
            raise Flaw(f"has the face id {shown(number)}; ids are numbers from 0 to 999")
        if text := to_text("face", face):
            yield name, text


def to_text(field: str, value: Node) -> str:
    """The text of a field, without blanks around it; "" for nothing. Raises Flaw."""
    if not isinstance(value, Scalar):
        raise Flaw(f"is {a_node(value)}; one text is wanted")
    if value.kind == "null":
        return ""
    if value.kind != "text" and (field in INPUTS or FACE_FIELD.fullmatch(field)):
        raise Flaw(
            f"is {A_KIND[value.kind]} ({shown(value.text)}); a URL or a path is wanted (in quotes, if it is one)"
        )
    return value.text.strip()


def to_tags(value: Node) -> tuple[str, ...] | None:
    """A list of texts, or one text with ";" between the tags; None when nothing is said. Raises Flaw."""
    if isinstance(value, Scalar):
        return None if value.kind == "null" else fields.split_tags(value.text) or None
    if isinstance(value, Mapping):
        raise Flaw("is a mapping; tags are a list, for example [de, hero]")
    if len(value.items) > fields.MOST_TAGS:
        raise Flaw(f"has {len(value.items):,} tags; at most {fields.MOST_TAGS} are allowed")
    return tuple(dict.fromkeys(tag for item in value.items if (tag := to_text("tags", item))))


def a_node(node: Node) -> str:
    if isinstance(node, Scalar):
        return A_KIND[node.kind] if node.kind == "null" else f"{A_KIND[node.kind]} ({shown(node.text)})"
    return "a list" if isinstance(node, Listing) else "a mapping"


def filled(line: int, own: MappingFields, defaults: MappingFields) -> RawRow:
    """The record of a task, with the defaults for what it does not say itself."""
    tags = defaults.tags if own.tags is None else own.tags
    if not defaults.values:
        return RawRow(line, own.values, tags or (), own.spelled)
    said = {family(name) for name in own.values}
    values = {name: text for name, text in defaults.values.items() if family(name) not in said}
    return RawRow(line, {**values, **own.values}, tags or (), {**defaults.spelled, **own.spelled})


def family(field: str) -> str:
    """The group of fields of which a task has one: what it says of the group overrides what the defaults say of it."""
    if field == "image":
        return "video"
    return "face" if FACE_FIELD.fullmatch(field) else field
