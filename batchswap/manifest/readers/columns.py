"""Check the rows of a table column by column, with one regular expression for some hundred cells at once.

Rows with other cells, which may still be valid, are left to `Checker`, which handles all formats and reports all
problems. Both make the same rows (test_manifest_columns).
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import groupby, repeat

from batchswap.errors import Flaw
from batchswap.manifest.fields import (
    FACE_FIELD,
    LONGEST_KEY,
    LONGEST_TEXT,
    UNSAFE,
    UNSAFE_NOTE,
    checked_tags,
    is_kept,
    split_tags,
)
from batchswap.manifest.inputs import ManifestInputs
from batchswap.manifest.outputs import ORDINARY, ending
from batchswap.manifest.readers.csv import NUL, Header, to_record, width_sentence
from batchswap.manifest.rows import Checker
from batchswap.tasks import Model, Row

# Each pattern is narrower than the full check. NUL separates the cells, so no cell contains it.
URL = r"https?://[A-Za-z0-9][A-Za-z0-9.-]{0,250}+(?::[1-9][0-9]{0,3})?/[!-=?-~]{0,1700}+"
SAFE = rf"(?!\s)[^{UNSAFE.pattern[1:]}{{0,{LONGEST_TEXT}}}+(?<!\s)"
KEY = rf"(?!\s)[^{UNSAFE.pattern[1:]}{{0,{LONGEST_KEY}}}+(?<!\s)"
NOTE = rf"(?!\s)[^{UNSAFE_NOTE.pattern[1:]}{{0,{20 * LONGEST_TEXT}}}+(?<!\s)"
PART = r"[A-Za-z0-9_-][A-Za-z0-9_ .()-]{0,150}"
OUTPUT = rf"(?:(?:{PART}/){{0,5}}{PART}(?<!\s)(?<!\.part))?"
REPEAT = "(?:[1-9][0-9]{0,3})?"
TAGS = rf"[^{UNSAFE.pattern[1:]}{{0,100}}"  # short enough for at most 50 tags


class Column:
    """Recognizes ordinary cells of one kind."""

    def __init__(self, kind: str) -> None:
        self._one = re.compile(kind)
        self._many = re.compile(f"(?:(?:{kind}){NUL})*")

    def read(self, cells: Sequence[str]) -> tuple[Sequence[str], list[int]]:
        """Return the stripped texts, and the indices of those that need the full check."""
        if self._many.fullmatch(f"{NUL.join(set(cells))}{NUL}"):
            return cells, []
        texts = [cell.strip() for cell in cells]
        known = self._one.fullmatch
        return texts, [at for at, text in enumerate(texts) if not known(text)]


class InputColumn(Column):
    """Recognizes URLs, and paths of files that were checked."""

    def __init__(self, inputs: ManifestInputs) -> None:
        super().__init__(f"(?:{URL})?")
        self._inputs = inputs

    def read(self, cells: Sequence[str]) -> tuple[Sequence[str], list[int]]:
        texts, unknown = super().read(cells)
        if not unknown:
            return texts, unknown
        checked, wrong = list(texts), []
        for at in unknown:
            try:
                checked[at] = self._inputs.checked(texts[at])
            except Flaw:
                wrong.append(at)
            if checked[at] in self._inputs.real:
                wrong.append(at)
        return checked, wrong


@lru_cache(maxsize=4096)
def known_tags(text: str) -> tuple[str, ...] | None:
    try:
        return checked_tags(split_tags(text))
    except Flaw:
        return None


class Columns:
    """The rows below one header."""

    def __init__(self, header: Header, checker: Checker) -> None:
        self._header, self._checker = header, checker
        self._read = [self._column(name).read for name in header.names]
        self._faces = sorted(int(name[5:]) for name in header.names if FACE_FIELD.fullmatch(name))
        self._kept = [name for name in header.names if is_kept(name)]

    def _column(self, name: str) -> Column:
        if name in ("video", "image", "face") or FACE_FIELD.fullmatch(name):
            return InputColumn(self._checker.inputs)
        consent = f"(?!{NUL}|$){SAFE}" if self._checker.consents.required_by else SAFE
        kinds = {"id": KEY, "output": OUTPUT, "consent": consent, "tags": TAGS, "repeat": REPEAT}
        return Column(kinds.get(name, NOTE))

    def rows(self, numbers: Sequence[int], table: Sequence[list[str]]) -> Iterator[list[Row]]:
        """Yield the rows of records that begin in these lines. Rows before a problem are yielded first."""
        width = len(self._header.columns)
        if set(map(len, table)) == {width}:
            yield from self._alike(numbers, table)
            return
        there = ((number, cells) for number, cells in zip(numbers, table, strict=True) if "".join(cells).strip())
        for fits, some in groupby(there, lambda each: len(each[1]) == width):
            part = list(some)
            if fits:
                yield from self._alike([number for number, _ in part], [cells for _, cells in part])
            else:
                for number, cells in part:
                    self._checker.complain(number, None, width_sentence(self._header, cells))

    def _alike(self, numbers: Sequence[int], table: Sequence[list[str]]) -> Iterator[list[Row]]:
        """Yield the rows of records whose number of cells equals the header's."""
        found = [read(cells) for read, cells in zip(self._read, zip(*table, strict=True), strict=True)]
        texts = dict(zip(self._header.names, (cells for cells, _ in found), strict=True))
        wrong = {at for _, some in found for at in some}
        absent = [""] * len(numbers)
        wrong |= self._checker.consents.refused(texts.get("consent", absent), texts.get("tags", absent))
        names = ("id", "video", "image", "face", "output", "consent", "tags", "repeat")
        faces = zip(*(texts[f"face_{number}"] for number in self._faces), strict=True) if self._faces else repeat(())
        kept = zip(*(texts[name] for name in self._kept), strict=True) if self._kept else repeat(())
        made, ids, kept_names = self._checker.made, self._faces, self._kept
        head, video_start, image_start = self._checker.plain_head, f"{Model.VIDEO}\0", f"{Model.IMAGE}\0"
        video_model, image_model = Model.VIDEO, Model.IMAGE  # a lookup in the enumeration for every row is too slow
        ordinary, rows = ORDINARY.fullmatch, list[Row]()
        columns = zip(numbers, *(texts.get(name, absent) for name in names), faces, kept, strict=False)
        for at, (line, key, video, image, face, given, consent, tags, times, several, extra) in enumerate(columns):
            many = tuple([pair for pair in zip(ids, several, strict=True) if pair[1]]) if several else ()
            labels = known_tags(tags) if tags else ()
            if at not in wrong and labels is not None and (not video) != (not image) and (not face) != (not many):
                notes = tuple([pair for pair in zip(kept_names, extra, strict=True) if pair[1]]) if extra else ()
                if head is not None and key and not (given or times or many) and ordinary(key):
                    # The common case: the same as `made`, in half the time.
                    model, start, target = (
                        (video_model, video_start, video) if video else (image_model, image_start, image)
                    )
                    digest = sha256(f"{start}{target}\0{face}".encode()).hexdigest()[:20]
                    output = f"{head}{key}.mp4" if video else f"{head}{key}{ending(model, target)}"
                    rows.append(Row(key, digest, model, target, face, output, line, (), consent, labels, notes))
                    continue
                count = int(times) if times else 1
                try:
                    rows += made(line, key, video, image, face, many, given, consent, labels, notes, count)
                    continue
                except Flaw:  # reported by the checker below
                    pass
            if record := to_record(self._header, line, table[at]):
                yield rows
                rows = self._checker.rows(record)
        yield rows
