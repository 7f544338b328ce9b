"""Rows of a table, checked column by column: one regular expression looks at a whole column of some hundred cells.

A cell that it does not know may still be right. Its row is then left to `Checker`, which reads the rows of all formats
and has a sentence for everything that can be wrong; the rows that are made here are the same (test_manifest_columns).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
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
from batchswap.manifest.inputs import Inputs
from batchswap.manifest.outputs import ORDINARY, ending, safe_part
from batchswap.manifest.readers.csv import NUL, Header, to_record, width_sentence
from batchswap.manifest.rows import Checker, Target
from batchswap.tasks import Model, Row, content_digest

# Each is narrower than what the full check allows. No cell has NUL in it, which stands between cells.
URL = r"https?://[A-Za-z0-9][A-Za-z0-9.-]{0,250}+(?::[1-9][0-9]{0,3})?/[!-=?-~]{0,1700}+"
SAFE = rf"(?!\s)[^{UNSAFE.pattern[1:]}{{0,{LONGEST_TEXT}}}+(?<!\s)"
KEY = rf"(?!\s)[^{UNSAFE.pattern[1:]}{{0,{LONGEST_KEY}}}+(?<!\s)"
NOTE = rf"(?!\s)[^{UNSAFE_NOTE.pattern[1:]}{{0,{20 * LONGEST_TEXT}}}+(?<!\s)"
PART = r"[A-Za-z0-9_-][A-Za-z0-9_ .()-]{0,150}"
OUTPUT = rf"(?:(?:{PART}/){{0,5}}{PART}(?<!\s)(?<!\.part))?"
ONCE = "1?"
TAGS = rf"[^{UNSAFE.pattern[1:]}{{0,100}}"  # so no more than 50 of them
Read = Callable[[Sequence[str]], tuple[Sequence[str], list[int]]]
"""A column -> its texts without blanks around them, and where they must be looked at again."""


class Column:
    """Knows cells of one kind."""

    def __init__(self, kind: str) -> None:
        self._one = re.compile(kind)
        self._many = re.compile(f"(?:(?:{kind}){NUL})*")

    def read(self, cells: Sequence[str]) -> tuple[Sequence[str], list[int]]:
        if self._many.fullmatch(f"{NUL.join(set(cells))}{NUL}"):
            return cells, []
        texts = [cell.strip() for cell in cells]
        known = self._one.fullmatch
        return texts, [at for at, text in enumerate(texts) if not known(text)]


class InputColumn(Column):
    """Knows URLs, and paths of files that were looked at."""

    def __init__(self, inputs: Inputs) -> None:
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
        self._read = [self._reader(name) for name in header.names]
        self._faces = sorted(int(name[5:]) for name in header.names if FACE_FIELD.fullmatch(name))
        self._kept = [name for name in header.names if is_kept(name)]
        self._head = checker.names.head(checker.batch)

    def _reader(self, name: str) -> Read:
        if name in ("video", "image", "face") or FACE_FIELD.fullmatch(name):
            return InputColumn(self._checker.inputs).read
        consent = f"(?!{NUL}|$){SAFE}" if self._checker.require_consent else SAFE
        kinds = {"id": KEY, "output": OUTPUT, "consent": consent, "tags": TAGS, "repeat": ONCE}
        return Column(kinds.get(name, NOTE)).read

    def rows(self, numbers: Sequence[int], table: Sequence[list[str]]) -> Iterator[list[Row]]:
        """The rows of records, which begin in such lines; those before a problem come before the checker knows it."""
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
        """Those of records that have as many cells as the header."""
        found = [read(cells) for read, cells in zip(self._read, zip(*table, strict=True), strict=True)]
        texts = dict(zip(self._header.names, (cells for cells, _ in found), strict=True))
        wrong = {at for _, some in found for at in some}
        if self._head is not None and not self._is_inside(f"{self._head}x"):
            wrong.update(range(len(table)))
        rows, others = self._made(numbers, texts, wrong)
        begin = 0
        for end, at in others:
            yield rows[begin:end]
            if record := to_record(self._header, numbers[at], table[at]):
                yield self._checker.rows(record)
            begin = end
        yield rows[begin:]

    def _is_inside(self, output: str) -> bool:
        try:
            self._checker.names.check(output)
        except Flaw:
            return False
        return True

    def _made(
        self, numbers: Sequence[int], texts: dict[str, Sequence[str]], wrong: set[int]
    ) -> tuple[list[Row], list[tuple[int, int]]]:
        """The rows of checked texts, and for others, whose fields may not fit together: before which row, and where."""
        absent = [""] * len(numbers)
        columns = [texts.get(name, absent) for name in ("id", "video", "image", "face", "output", "consent", "tags")]
        several = zip(*(texts[f"face_{number}"] for number in self._faces), strict=True) if self._faces else repeat(())
        kept = zip(*(texts[name] for name in self._kept), strict=True) if self._kept else repeat(())
        sha256, ordinary, ids, head = hashlib.sha256, ORDINARY.fullmatch, self._faces, self._head
        video_start, image_start = f"{Model.VIDEO}\0", f"{Model.IMAGE}\0"
        video_model, image_model = Model.VIDEO, Model.IMAGE
        rows: list[Row] = []
        others: list[tuple[int, int]] = []
        for at, number, key, video, image, face, given, consent, tags, many, extra in zip(
            range(len(numbers)), numbers, *columns, several, kept, strict=False
        ):
            faces = tuple([(id_, text) for id_, text in zip(ids, many, strict=True) if text]) if many else ()
            labels = known_tags(tags) if tags else ()
            if at in wrong or labels is None or (not video) == (not image) or (not face) == (not faces):
                others.append((len(rows), at))
                continue
            target = video or image
            if faces:
                model = Model.VIDEO_MULTI if video else Model.IMAGE_MULTI
                digest = content_digest(model, target, "", faces)
            else:
                # As content_digest does it, without its general case.
                model, start = (video_model, video_start) if video else (image_model, image_start)
                digest = sha256(f"{start}{target}\0{face}".encode()).hexdigest()[:20]
            name = key or digest
            if given or head is None:
                output = given or self._checker.name(name, Target(model, target, face, faces), number)
                if not self._is_inside(output):
                    others.append((len(rows), at))
                    continue
            else:
                suffix = ".mp4" if video else ending(model, target)
                output = f"{head}{name if ordinary(name) else safe_part(name)}{suffix}"
            notes = tuple([pair for pair in zip(self._kept, extra, strict=True) if pair[1]]) if extra else ()
            rows.append(Row(name, digest, model, target, face, output, number, faces, consent, labels, notes))
        return rows, others
