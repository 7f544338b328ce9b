"""The before-and-after pictures of a page: embedded in its one file, or copied into its folder."""

import base64
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from batchswap.ledger.page_queries import ReportRow
from batchswap.report.page.output_place import STRIPS
from batchswap.states import DOUBTFUL, Review, State

Pictures = Literal["all", "trouble", "none"]

SAMPLE = 300
"""Pictures of good results with `--pictures trouble`."""
AT_ONCE = 40
"""Pictures of one embedded piece: the page decodes a piece when it shows one of its pictures."""
BUDGETS: dict[Pictures, int] = {"all": 23_000_000, "trouble": 3_600_000, "none": 0}
"""Characters of all embedded pictures: a page has at most 25 MB, and 5 MB with those of trouble only."""
LARGEST = 200_000
_NAME = re.compile(r"(?:[0-9A-Za-z_-]+/)*[0-9A-Za-z_-]+\.webp")


class StripChoice(msgspec.Struct):
    """Decides which pictures a page has: those of results that need a look, and all or a sample of the others.

    `others` is the number of the others, of which every n-th is taken.
    """

    pictures: Pictures
    others: int
    _seen: int = 0

    def takes(self, row: ReportRow) -> bool:
        if self.pictures == "none" or not row.strip or row.state != State.DONE:
            return False
        if row.quality in DOUBTFUL or row.review == Review.REJECTED or self.pictures == "all":
            return True
        self._seen += 1
        return self._seen * SAMPLE // self.others > (self._seen - 1) * SAMPLE // self.others or self.others <= SAMPLE


def path_of(folder: Path, name: str) -> Path | None:
    """Return the file of a picture; None for a name that is not one of batchswap's."""
    return folder / name if _NAME.fullmatch(name) else None


def read(folder: Path, name: str) -> bytes:
    """Return the picture; b"" if there is none."""
    path = path_of(folder, name)
    try:
        if path is None or path.stat().st_size > LARGEST:
            return b""
        found = path.read_bytes()
    except OSError:
        return b""
    return found if found[:4] == b"RIFF" and found[8:12] == b"WEBP" else b""


class EmbeddedStrips(msgspec.Struct):
    """The pictures of a page that is one file. `places` maps a task to the piece that has its picture.

    `omitted` counts the pictures for which the page has no room.
    """

    folder: Path
    chosen: list[tuple[int, str]]
    places: dict[int, int]
    omitted: int

    @classmethod
    def choose(cls, rows: Iterable[ReportRow], choice: StripChoice, folder: Path) -> "EmbeddedStrips":
        """Choose the pictures that fit: those of results that need a look first."""
        some = [(_rank(row), row.id, row.strip) for row in rows if choice.takes(row)]
        some.sort(key=_by_rank)
        left, chosen, omitted = BUDGETS[choice.pictures], [], 0
        for _, task_id, name in some:
            length = _length(folder, name)
            if length > left:
                omitted += 1
            elif length:
                left -= length
                chosen.append((task_id, name))
        places = {task_id: number // AT_ONCE for number, (task_id, _) in enumerate(chosen)}
        return cls(folder, chosen, places, omitted)

    def address(self, row: ReportRow) -> str:
        """Return "#" and the piece of the task's picture; "" if the page does not have it."""
        place = self.places.get(row.id)
        return "" if place is None else f"#{place}"

    def pieces(self) -> Iterator[dict[str, Any]]:
        """Yield the pictures as Base64 by the id of their task."""
        for start in range(0, len(self.chosen), AT_ONCE):
            some = self.chosen[start : start + AT_ONCE]
            yield {str(task_id): base64.b64encode(read(self.folder, name)).decode() for task_id, name in some}


def _rank(row: ReportRow) -> float:
    return -1.0 if row.quality in DOUBTFUL and not row.review else 0.0 if row.review == Review.REJECTED else 1.0


def _by_rank(each: tuple[float, int, str]) -> tuple[float, int]:
    return each[0], each[1]


def _length(folder: Path, name: str) -> int:
    path = path_of(folder, name)
    try:
        size = 0 if path is None else path.stat().st_size
    except OSError:
        return 0
    return 0 if size > LARGEST else (size + 2) // 3 * 4


class CopiedStrips(msgspec.Struct):
    """The pictures of a page that is a folder: files, which the browser loads when they are shown."""

    folder: Path
    page: Path
    choice: StripChoice

    def address(self, row: ReportRow) -> str:
        """Copy the picture, and return its address relative to the page; "" if there is none."""
        path = path_of(self.folder, row.strip)
        if path is None or not self.choice.takes(row):
            return ""
        target = self.page / STRIPS / row.strip
        if not target.exists():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                os.link(path, target, follow_symlinks=False)  # takes no space, and not every file system has it
            except OSError:
                found = read(self.folder, row.strip)
                if not found:
                    return ""
                target.write_bytes(found)
                target.chmod(0o600)
        return f"{STRIPS}/{row.strip}"
