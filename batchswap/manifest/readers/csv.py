"""Read CSV as a stream of lines: a header, then records, whose quoted fields may span several lines."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest import fields
from batchswap.manifest.rows import Complain, RawRow

SEPARATORS = ",;\t"
LONGEST_LINE = 1 << 20
BLOCK = 1 << 16
"""Characters to read at once: some hundred lines."""
MOST_UNKNOWN = 20
NUL = "\0"
SEP_LINE = re.compile(r'"?sep=([,;|\t]|\\t)"?[,;|\s]*', re.IGNORECASE)
"""A line above the header that Excel writes or reads."""
NAME = re.compile(r"[^\W\d][\w -]*")
"""A possible column name, as opposed to a URL, a file or a number of a row."""


class Header:
    """The columns of one file: their fields by position, and their names as written."""

    def __init__(self, line: int, columns: list[str]) -> None:
        self.line, self.columns = line, columns
        self.names = [fields.canonical(name) or "" for name in columns]
        self.spelled = {f: c for f, c in zip(self.names, columns, strict=True) if f != c}

    def problems(self, consent_rule: str) -> Iterator[tuple[str | None, str]]:
        """Yield (column, problem). `consent_rule` is the option that requires a consent in every row, "" if none."""
        if not any(self.names) and "|" in "".join(self.columns):
            yield None, 'separates its columns with "|": use ",", ";" or tab'
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
                yield column, "is for YAML; in CSV, each face has its own column: face_0, face_1, …"
            elif not field:
                yield printable(column), fields.unknown(column)
            elif (other := first.setdefault(field, column)) == column:
                if numbers.setdefault(field, number) != number:
                    yield column, f"occurs twice: columns {numbers[field]} and {number}"
            else:
                yield column, f'means the same as the column "{other}": only one of them can be given'
        if wrong > MOST_UNKNOWN:
            yield None, f"has {wrong - MOST_UNKNOWN:,} more unknown columns"
        yield from self._absent()
        if consent_rule and "consent" not in self.names:
            yield "consent", f"is missing in the header, but {consent_rule} requires it in every row"

    def _absent(self) -> Iterator[tuple[str, str]]:
        if not {"video", "image"} & set(self.names):
            yield "video", "is missing in the header: rows need a video (or an image)"
        if not any(n in ("face", "faces") or fields.FACE_FIELD.fullmatch(n) for n in self.names):
            yield "face", "is missing in the header: rows need a face (or face_0, face_1, …)"


def printable(column: str) -> str:
    return fields.shown(column, 60)[1:-1]


class Lines:
    """The lines of a text, as an iterator of (number from 1, line with its end), each at most LONGEST_LINE long.

    May raise UnicodeDecodeError. `close` leaves the stream open.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        self._block = io.StringIO()
        self.number = 0
        """The number of the last line."""

    def close(self) -> None:
        self._text.detach()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while line := self._block.readline(LONGEST_LINE) or self._text.readline(LONGEST_LINE):
            self.number += 1
            yield self.number, line

    def block(self) -> io.StringIO:
        """Return some whole lines; none at the end. A line that is too long is truncated, but still too long.

        Lines that are not read from the block are next in the iterator.
        """
        text = self._text.read(BLOCK)
        self._block = io.StringIO(text if text.endswith("\n") else text + self._text.readline(LONGEST_LINE), newline="")
        return self._block

    def block_is_done(self, count: int) -> None:
        """Skip the block, which has `count` lines."""
        self._block = io.StringIO()
        self.number += count


class Table:
    """The records of a CSV text. `header` comes first, then `batches`."""

    def __init__(self, file: str, lines: Lines) -> None:
        self._file, self._lines = file, lines
        self._is_first = True
        self._number = 0
        first, separator = self._first_line()
        self._separator = separator or sniffed_separator(first)
        self._reader = csv.reader(chain([first], self._rest()), delimiter=self._separator, strict=True)

    def header(self) -> Header:
        """Return the header. Raise ManifestProblem."""
        try:
            return Header(self._number, [column.strip() for column in self._record() or []])
        except Flaw as flaw:
            raise ManifestProblem(self._file, self._number, None, str(flaw)) from None

    def batches(self, complain: Complain) -> Iterator[tuple[Sequence[int], list[list[str]]]]:
        """Yield some hundred records at a time: their first lines and their cells. Problems go to `complain`.

        Raise ManifestProblem if the rest cannot be split into records.
        """
        while text := (block := self._lines.block()).getvalue():
            yield self._bare(text) or self._quoted(block, len(text), complain)

    def _bare(self, text: str) -> tuple[Sequence[int], list[list[str]]] | None:
        """Return the records of whole lines without quotes, where each line is a record; None for other lines."""
        text = text.replace("\r\n", "\n").removesuffix("\n")
        if '"' in text or NUL in text or "\r" in text or len(text) >= csv.field_size_limit():
            return None
        lines = text.split("\n")
        numbers: Sequence[int] = range(self._lines.number + 1, self._lines.number + len(lines) + 1)
        self._lines.block_is_done(len(lines))
        if "\n#" in text or text[:1] == "#":
            numbers = [number for number, line in zip(numbers, lines, strict=True) if not is_comment(line)]
            lines = [line for line in lines if not is_comment(line)]
        return numbers, [line.split(self._separator) for line in lines]

    def _quoted(self, block: io.StringIO, size: int, complain: Complain) -> tuple[Sequence[int], list[list[str]]]:
        """Return the records that begin in the block. The last one may end after it."""
        numbers, found = [], []
        while block.tell() < size:
            try:
                if (cells := self._record()) is not None:
                    numbers.append(self._number)
                    found.append(cells)
            except Flaw as flaw:
                complain(self._number, None, str(flaw))
        return numbers, found

    def _record(self) -> list[str] | None:
        """Return the cells of the next record, which begins in line `_number`; None at the end."""
        self._is_first = True
        try:
            return next(self._reader, None)
        except csv.Error as error:
            if "expected after" in str(error):
                sentence = 'has text after a closing quote; double a quote inside a quoted field: ""'
                raise Flaw(sentence) from None
            raise ManifestProblem(self._file, self._number, None, csv_sentence(str(error))) from None

    def _first_line(self) -> tuple[str, str]:
        """Return the first line that is not empty, a comment ("#…") or `sep=`, and the separator of `sep=`, else ""."""
        separator = ""
        for number, line in self._lines:
            self._number = number
            if line.startswith("#") or not line.strip():
                continue
            if not separator and (found := SEP_LINE.fullmatch(line)):
                separator = "\t" if found[1] == r"\t" else found[1]
                continue
            self._check(number, line)
            return line, separator
        raise ManifestProblem(self._file, None, None, "is empty: it has neither a header nor rows")

    def _rest(self) -> Iterator[str]:
        """Yield lines to the csv module. Between records, skip empty lines and comments."""
        for number, line in self._lines:
            if self._is_first:
                if not line.strip() or is_comment(line):
                    continue
                self._number, self._is_first = number, False
            self._check(number, line)
            yield line

    def _check(self, number: int, line: str) -> None:
        if len(line) >= LONGEST_LINE:
            raise ManifestProblem(self._file, number, None, f"the line is longer than {LONGEST_LINE:,} characters")
        if NUL in line:
            sentence = "has a NUL byte: this is not a text file, or it is UTF-16; save it as UTF-8"
            raise ManifestProblem(self._file, number, None, sentence)


def is_comment(line: str) -> bool:
    """Return whether a line below the header is a comment ("# …"). Other lines that begin with "#" are rows."""
    return line.startswith("# ") or line.rstrip() == "#"


def sniffed_separator(header: str) -> str:
    """Return the most frequent separator in the header, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def csv_sentence(message: str) -> str:
    """Return a readable message for an error of the csv module."""
    if "unexpected end of data" in message:
        return "a quoted field that begins in this row is never closed"
    if "field larger than" in message:
        return f"has a field of more than {csv.field_size_limit():,} characters; perhaps a quote is never closed"
    return f"is not CSV: {message}"


def width_sentence(header: Header, cells: list[str]) -> str:
    there = f"{len(cells):,} field{'s' * (len(cells) > 1)}"
    hint = ' (a comment begins with "# ": a hash and a space)' if cells[0].startswith("#") else ""
    return f"has {there}; the header has {len(header.columns):,}{hint}"


def to_record(header: Header, number: int, cells: list[str]) -> RawRow | None:
    """Return the row's record; None if all cells are empty, as in an empty line."""
    values = {field: text for field, cell in zip(header.names, cells, strict=True) if (text := cell.strip())}
    return RawRow(number, values, fields.split_tags(values.pop("tags", "")), header.spelled) if any(cells) else None
