"""CSV: a header, then one record a row. Lines come as a stream; a quoted field may span several."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest import fields
from batchswap.manifest.rows import Record

SEPARATORS = ",;\t"
LONGEST_LINE = 1 << 20
BLOCK = 1 << 16
"""Characters that are read at once: some hundred lines."""
MOST_UNKNOWN = 20
NUL = "\0"
SEP_LINE = re.compile(r'"?sep=([,;\t]|\\t)"?[,;\s]*', re.IGNORECASE)
"""What Excel writes, or obeys, above the header."""
NAME = re.compile(r"[^\W\d][\w -]*")
"""What may be a column's name that nobody knows; a URL, a file or a number is a row's."""


class Header:
    """The columns of one file: field by position, and how it was spelled."""

    def __init__(self, line: int, columns: list[str], separator: str) -> None:
        self.line, self.columns, self.separator = line, columns, separator
        self.names = [fields.canonical(name) or "" for name in columns]
        self.spelled = {f: c for f, c in zip(self.names, columns, strict=True) if f != c}

    def problems(self, *, require_consent: bool) -> Iterator[tuple[str | None, str]]:
        """(column, what is wrong with it)."""
        if not any(self.names) and "|" in "".join(self.columns):
            yield None, 'separates its columns by "|": they are separated by ",", ";" or tab'
            return
        if not any(self.names) and not all(map(NAME.fullmatch, self.columns)):
            yield None, "has no header: the first line must name the columns, for example id,video,face,consent"
            return
        first: dict[str, str] = {}
        numbers: dict[str, int] = {}
        wrong = 0
        for number, (field, column) in enumerate(zip(self.names, self.columns, strict=True), 1):
            if not field and (wrong := wrong + 1) > MOST_UNKNOWN:
                continue
            if not column:
                yield f"column {number}", "has no name in the header"
            elif field == "faces":
                yield column, "is for YAML; in CSV each face has a column of its own: face_0, face_1, …"
            elif not field:
                yield printable(column), fields.unknown(column)
            elif (other := first.setdefault(field, column)) == column:
                if numbers.setdefault(field, number) != number:
                    yield column, f"is there twice: columns {numbers[field]} and {number}"
            else:
                yield column, f'means the same as the column "{other}": only one of them can be given'
        if wrong > MOST_UNKNOWN:
            yield None, f"has {wrong - MOST_UNKNOWN:,} more columns that are not known"
        yield from self._absent()
        if require_consent and "consent" not in self.names:
            yield "consent", "is missing in the header, and --require-consent asks for it in every row"

    def _absent(self) -> Iterator[tuple[str, str]]:
        if not {"video", "image"} & set(self.names):
            yield "video", "is missing in the header: rows need a video (or an image)"
        if not any(n in ("face", "faces") or fields.FACE_FIELD.fullmatch(n) for n in self.names):
            yield "face", "is missing in the header: rows need a face (or face_0, face_1, …)"


def printable(column: str) -> str:
    return fields.shown(column, 60)[1:-1]


class Lines:
    """The lines of a text: an iterator of (number from 1, line with its end), no piece longer than LONGEST_LINE.

    Whoever knows what to do with many lines at once takes a `block`, and either counts its lines as `done` or goes
    through them `one_by_one`. Everything may raise UnicodeDecodeError. To be closed; the stream stays open.
    """

    def __init__(self, stream: BinaryIO, block: int = BLOCK) -> None:
        self._block = block
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        self._taken = io.StringIO()
        self.number = 0
        """That of the last line."""

    def close(self) -> None:
        self._text.detach()

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> tuple[int, str]:
        line = self._taken.readline(LONGEST_LINE) or self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        return self.number, line

    def block(self) -> str:
        """Some whole lines; "" at the end. A line that is too long is there up to where this can be seen."""
        text = self._text.read(self._block)
        return text if text.endswith("\n") else text + self._text.readline(LONGEST_LINE)

    def done(self, count: int) -> None:
        """So many lines, all of the block, need not be gone through."""
        self.number += count

    def one_by_one(self, block: str) -> Iterator[tuple[int, str]]:
        """The lines of the block. Meanwhile, who takes further lines gets those behind the last one given."""
        self._taken = io.StringIO(block, newline="")
        while line := self._taken.readline(LONGEST_LINE):
            self.number += 1
            yield self.number, line


def is_empty(line: str) -> bool:
    """Whether a line below the header has nothing in it, or a comment: "# …". Others that begin with "#" are rows."""
    return line.startswith("# ") or line.strip() in ("", "#")


def read_header(file: str, lines: Iterator[tuple[int, str]]) -> Header:
    """The first line that is not empty, no comment ("#…") and no `sep=`. Raises ManifestProblem."""
    separator = ""
    for number, line in lines:
        if line.startswith("#") or not line.strip():
            continue
        if not separator and (found := SEP_LINE.fullmatch(line)):
            separator = "\t" if found[1] == r"\t" else found[1]
            continue
        separator = separator or sniffed_separator(line)
        try:
            columns = split(file, number, line, lines, separator)
        except Flaw as flaw:
            raise ManifestProblem(file, number, None, str(flaw)) from None
        return Header(number, [column.strip() for column in columns], separator)
    raise ManifestProblem(file, None, None, "is empty: it has neither a header nor rows")


def sniffed_separator(header: str) -> str:
    """The separator that the header has most of, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def split(file: str, number: int, line: str, lines: Iterator[tuple[int, str]], separator: str) -> list[str]:
    """The fields of the row that begins with `line`; takes further lines while a quote is open.

    Raises Flaw for a row that is wrong by itself, ManifestProblem when what follows cannot be told apart any more.
    """
    if len(line) >= LONGEST_LINE:
        raise ManifestProblem(file, number, None, f"the line is longer than {LONGEST_LINE:,} characters")
    following = chain((line,), (text for _, text in lines)) if '"' in line else iter((line,))
    try:
        found = next(csv.reader(following, delimiter=separator, strict=True))
    except csv.Error as error:
        if "expected after" in str(error):
            raise Flaw('has text behind a closing quote; a quote inside a quoted field is written twice: ""') from None
        raise ManifestProblem(file, number, None, csv_sentence(str(error))) from None
    if any(NUL in text for text in found):
        raise ManifestProblem(file, number, None, "has a NUL byte: this is not a text file")
    return found


def csv_sentence(message: str) -> str:
    """What the csv module says, in words for people."""
    if "unexpected end of data" in message:
        return "a quoted field that begins in this row is never closed"
    if "field larger than" in message:
        return f"has a field of more than {csv.field_size_limit():,} characters; perhaps a quote is never closed"
    return f"is not CSV: {message}"


def to_record(header: Header, number: int, cells: list[str]) -> Record | None:
    """The row's record; None for a row of empty cells, which counts as an empty line. Raises Flaw for missing cells."""
    if not any(cells):
        return None
    if len(cells) != len(header.columns):
        fields_there = f"{len(cells):,} field{'s' * (len(cells) > 1)}"
        hint = ' (a comment begins with "# ": a hash and a space)' if cells[0].startswith("#") else ""
        raise Flaw(f"has {fields_there}; the header has {len(header.columns):,}{hint}")
    values = {field: text for field, cell in zip(header.names, cells, strict=True) if (text := cell.strip())}
    return Record(number, values, fields.split_tags(values.pop("tags", "")), header.spelled)
