"""Read JSONL: one JSON object per line, with the fields of a YAML task."""

import json
from collections.abc import Iterator
from typing import Any

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest.fields import shown
from batchswap.manifest.readers.csv import LONGEST_LINE
from batchswap.manifest.readers.yaml_events import DEEPEST, MOST_KEYS, TOO_MANY_KEYS
from batchswap.manifest.readers.yaml_nodes import NO_FIELDS, Listing, Mapping, Node, Scalar, filled, task_fields
from batchswap.manifest.rows import Complain, RawRow


def json_records(file: str, lines: Iterator[tuple[int, str]], complain: Complain) -> Iterator[RawRow]:
    """Yield the record of each non-empty line. Problems go to `complain`."""
    empty = True
    for number, line in lines:
        if len(line) >= LONGEST_LINE:
            raise ManifestProblem(file, number, None, f"the line is longer than {LONGEST_LINE:,} characters")
        if not (text := line.strip()):
            continue
        empty = False
        try:
            node = parsed(text, number)
        except Flaw as flaw:
            complain(number, None, str(flaw))
        else:
            if (own := task_fields(node, complain)) is not None:
                yield filled(number, own, NO_FIELDS)
    if empty:
        raise ManifestProblem(file, None, None, "is empty")


def parsed(text: str, line: int) -> Node:
    """Parse a line of JSON. Raise Flaw."""
    try:
        return to_node(json.loads(text, object_pairs_hook=Pairs), line)
    except json.JSONDecodeError as error:
        raise Flaw(f"is not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError):
        raise Flaw("is not readable JSON: nested too deep, or a number is too long") from None


class Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object, so that duplicate keys can be detected."""


def to_node(value: Any, line: int, depth: int = 0) -> Node:
    """Convert a value. Raise Flaw for duplicate keys, or if it is nested too deep."""
    if depth > DEEPEST:
        raise Flaw("is nested too deep")
    if isinstance(value, Pairs):
        items: dict[str, Node] = {}
        for key, inner in value:
            if key in items:
                raise Flaw(f"has the key {shown(key)} twice")
            if len(items) >= MOST_KEYS:
                raise Flaw(TOO_MANY_KEYS)
            items[key] = to_node(inner, line, depth + 1)
        return Mapping(items, line)
    if isinstance(value, list):
        return Listing([to_node(inner, line, depth + 1) for inner in value], line)
    if isinstance(value, str):
        return Scalar(value, line)
    if value is None:
        return Scalar("", line, "null")
    return Scalar(str(value), line, "boolean" if isinstance(value, bool) else "number")
