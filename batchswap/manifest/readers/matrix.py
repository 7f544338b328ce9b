"""Expand a matrix: every video (or image) with every face."""

import glob
import os
from collections.abc import Iterator
from math import prod

import msgspec

from batchswap.errors import Flaw
from batchswap.manifest.fields import FACE_FIELD, NAMES, shown
from batchswap.manifest.patterns import matching_files
from batchswap.manifest.readers.yaml_nodes import (
    Flaws,
    Listing,
    Mapping,
    MappingFields,
    Node,
    Scalar,
    a_node,
    filled,
    to_fields,
    to_text,
)
from batchswap.manifest.rows import Complain, RawRow
from batchswap.tasks import is_url

MOST_ROWS = 10_000_000
LISTS = ("video", "image", "face")
Choice = tuple[str, int]
"""A URL or path, and its line."""


class Folder(msgspec.Struct):
    """The folder for patterns. `was_searched` means that the rows depend on its files, not only on the manifest."""

    path: str
    was_searched: bool = False

    def matches(self, text: str) -> list[str]:
        """Return the files that a pattern matches, sorted. A text without wildcards, or of an existing file, stays."""
        if is_url(text) or not glob.has_magic(text):
            return [text]
        self.was_searched = True
        if os.path.lexists(os.path.join(self.path, text)):  # noqa: PTH118
            return [text]
        files = matching_files(self.path, text)
        if not files:
            raise Flaw(f"matches no file: {shown(text)} (looked in {shown(self.path, 200)})")
        return files


def expanded(node: Node, defaults: MappingFields, folder: Folder, complain: Complain) -> Iterator[RawRow]:
    """Yield a record for each pair, target by target in the order of the file. Problems go to `complain`."""
    if not isinstance(node, Mapping):
        if not (isinstance(node, Scalar) and node.kind == "null"):
            complain(node.line, "matrix", f"is {a_node(node)}, not a mapping with video and face")
        return
    lists: dict[str, list[Choice]] = {}
    wrong = False
    for name, value in node.items.items():
        if (field := NAMES.get(name)) in LISTS:
            try:
                lists[str(field)] = choices(str(field), value, folder, known=field in lists)
            except Flaw as flaw:
                complain(value.line, f"matrix.{name}", str(flaw))
                wrong = True
    common = common_fields(node, complain)
    if not wrong and common is not None and fits(lists, node.line, complain):
        yield from pairs(lists, common, defaults, node.line)


def fits(lists: dict[str, list[Choice]], line: int, complain: Complain) -> bool:
    """Return whether the lists make a matrix of an acceptable size. If not, report it to `complain`."""
    if not lists:
        sentence = "has neither video, image nor face"
    elif "video" in lists and "image" in lists:
        sentence = "cannot have both video and image: use one kind of target"
    elif (rows := prod(map(len, lists.values()))) > MOST_ROWS:
        sentence = f"makes {rows:,} rows; at most {MOST_ROWS:,} are allowed"
    else:
        return True
    complain(line, "matrix", sentence)
    return False


def pairs(
    lists: dict[str, list[Choice]], common: MappingFields, defaults: MappingFields, line: int
) -> Iterator[RawRow]:
    target = "video" if "video" in lists else "image"
    for target_text, target_line in lists.get(target, [("", line)]):
        for face, _ in lists.get("face", [("", line)]):
            own = {name: text for name, text in ((target, target_text), ("face", face)) if text}
            yield filled(target_line, MappingFields({**own, **common.values}, common.tags, common.spelled), defaults)


def common_fields(node: Mapping, complain: Complain) -> MappingFields | None:
    """Return the fields of all rows besides target and face; None if they have a problem, which is reported."""
    rest = {name: value for name, value in node.items.items() if NAMES.get(name) not in LISTS}
    try:
        made = to_fields(Mapping(rest, node.line))
    except Flaws as flaws:
        wrong = flaws.found
    else:
        single = [name for name in made.values if name in ("id", "output") or FACE_FIELD.fullmatch(name)]
        wrong = [(made.spelled.get(name, name), "cannot be given for a whole matrix") for name in single]
        if not wrong:
            return made
    for name, sentence in wrong:
        complain(rest[name].line if name in rest else node.line, f"matrix.{name}", sentence)
    return None


def choices(field: str, node: Node, folder: Folder, *, known: bool) -> list[Choice]:
    """Return the texts of a list without duplicates, with patterns replaced by their files, sorted. Raise Flaw."""
    if known:
        raise Flaw(f"means the same as {field}: only one of them can be given")
    if isinstance(node, Mapping):
        raise Flaw("is a mapping, not a list")
    found: dict[str, int] = {}
    for item in node.items if isinstance(node, Listing) else [node]:
        text = to_text(field, item)
        if not text:
            raise Flaw("has an empty entry")
        for one in folder.matches(text):
            found.setdefault(one, item.line)
    if not found:
        raise Flaw("is an empty list")
    return list(found.items())
