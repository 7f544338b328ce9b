"""The tasks as compact JSON for the page: pieces with one array for each task, in which repeated texts are numbers."""

import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batchswap.ledger.page_queries import ReportRow
from batchswap.ledger.rows import unpack_faces
from batchswap.states import State
from batchswap.tasks import Model, clean, is_url, public

PIECE = 2_000
"""Tasks of one piece."""
FIELDS = (
    "id", "batch", "key", "state", "quality", "share", "score", "review", "code", "reason", "target", "face",
    "consent", "tags", "tries", "credits", "at", "took", "kind", "file", "original", "strip", "signed", "note",
)  # fmt: skip
"""The meaning of each place in the array of a task."""
NAMED = tuple(FIELDS.index(name) for name in (
    "batch", "state", "quality", "review", "code", "reason", "target", "face", "consent", "tags", "kind", "original",
    "note",
))  # fmt: skip
"""Places with texts that repeat: they have the number of a text in the piece's `names`."""
_LONGEST = 300


def embedded(value: Any) -> str:
    """Return JSON in ASCII that can be in a script element: it ends no element, and begins no comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class FileLinks:
    """Finds the files of tasks, and returns their addresses relative to the folder of the page."""

    def __init__(self, page: Path, out: Path) -> None:
        """`page` is the folder of the page. Results are looked for where they were stored, then in `out`."""
        self._page = str(page.resolve())
        self._here = str(out.absolute())
        self._known = lru_cache(4_096)(self._link)

    def result(self, row: ReportRow) -> str:
        """Return the address of a stored result; "" if it is where no run has saved it."""
        if row.state != State.DONE or row.file is None:
            return ""
        places = dict.fromkeys((row.out or self._here, self._here))
        return next(filter(None, (self._link(f"{place}/{row.file}") for place in places)), "")

    def original(self, row: ReportRow) -> str:
        """Return the address of a local target; "" for a URL, and for a file that is gone."""
        return "" if is_url(row.target) else self._known(os.path.join(row.folder, row.target))  # noqa: PTH118

    def _link(self, path: str) -> str:
        if not os.path.isfile(path):  # noqa: PTH113 - 100,000 Path objects would take longer than the page
            return ""
        here = os.path.relpath(os.path.realpath(path), self._page)
        return quote(os.fsencode(here))


def cells(row: ReportRow, links: FileLinks, strip: str) -> list[Any]:
    """Return the values of a task in the order of FIELDS. `strip`: where the page finds its picture."""
    is_done = row.state == State.DONE
    return [
        row.id,
        _shown(row.batch),
        clean(row.key, _LONGEST),
        row.state,
        row.quality if is_done else "",
        row.share,
        row.score,
        row.review,
        _shown(row.code),
        _shown(row.reason),
        clean(public(row.target), _LONGEST),
        _faces(row.face, row.packed_faces),
        _shown(row.consent),
        _shown(row.tags),
        row.attempts,
        row.spent,
        None if row.changed_at is None else round(row.changed_at),
        None if row.took is None else round(max(row.took, 0.0), 1),
        Model(row.model).media_kind,
        links.result(row),
        links.original(row),
        strip,
        row.signed,
        _shown(row.note),
    ]


@lru_cache(8_192)
def _shown(text: str) -> str:
    return clean(text, _LONGEST)


@lru_cache(8_192)
def _faces(face: str, packed: bytes | None) -> str:
    if face:
        return clean(public(face), _LONGEST)
    return clean("; ".join(f"{number}={public(given)}" for number, given in unpack_faces(packed)), _LONGEST)


def pieces(rows: Iterable[list[Any]], size: int = PIECE) -> Iterator[dict[str, Any]]:
    """Yield the tasks in pieces: {"names": [text, …], "rows": [[cell, …], …]}."""
    names: dict[str, int] = {}
    some: list[list[Any]] = []
    for row in rows:
        for place in NAMED:
            row[place] = names.setdefault(row[place], len(names))
        some.append(row)
        if len(some) == size:
            yield {"names": list(names), "rows": some}
            names, some = {}, []
    if some:
        yield {"names": list(names), "rows": some}
