"""matrix: every video (or image) with every face."""

import glob
import os
from collections.abc import Iterator

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
"""A URL or path, and the line that it comes from."""


class Folder(msgspec.Struct):
    """Where patterns are looked up. `was_searched`: the rows depend on what lies there, and not on the text alone."""

    path: str
    was_searched: bool = False

    def matches(self, text: str) -> list[str]:
        """The files that a pattern matches, sorted. What is no pattern, or a file of that very name, is itself."""
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
    """A record for each pair: the targets in the order of the file, each with all faces. Problems go to `complain`."""
    if not isinstance(node, Mapping):
        if not (isinstance(node, Scalar) and node.kind == "null"):
            complain(node.line, "matrix", f"is {a_node(node)}; a mapping with video and face is wanted")
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
    """Whether the lists make a matrix of a size that can be meant."""
    sentence = None
    if not lists:
        sentence = "has neither video, image nor face"
    elif "video" in lists and "image" in lists:
        sentence = "has one kind of target: video and image cannot both be given"
    else:
        rows = 1
        for listed in lists.values():
            rows *= len(listed)
        if rows > MOST_ROWS:
            sentence = f"makes {rows:,} rows; at most {MOST_ROWS:,} are allowed"
    if sentence:
        complain(line, "matrix", sentence)
    return sentence is None


def pairs(
    lists: dict[str, list[Choice]], common: MappingFields, defaults: MappingFields, line: int
) -> Iterator[RawRow]:
    target = "video" if "video" in lists else "image"
    for target_text, target_line in lists.get(target, [("", line)]):
        for face, _ in lists.get("face", [("", line)]):
            own = {name: text for name, text in ((target, target_text), ("face", face)) if text}
            yield filled(target_line, MappingFields({**own, **common.values}, common.tags, common.spelled), defaults)


def common_fields(node: Mapping, complain: Complain) -> MappingFields | None:
    """What all rows of the matrix say besides target and face; None when something is wrong with it."""
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
    """The texts of a list, each once; patterns give the files that they match, sorted. Raises Flaw."""
    if known:
        raise Flaw(f"means the same as {field}: only one of them can be given")
    if isinstance(node, Mapping):
        raise Flaw("is a mapping; a list is wanted")
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
