"""Read the first sheet of an Excel workbook row by row. openpyxl comes with the extra `xlsx`."""

import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from itertools import islice
from typing import Any, BinaryIO

from batchswap.errors import ManifestProblem
from batchswap.manifest.readers.csv import Header, is_comment

LARGEST = 1 << 28
"""Most bytes of all parts of a workbook, unpacked."""
LARGEST_TEXTS = 1 << 26
"""Most bytes of the texts, which are kept in memory."""
LONGEST_ROW = 1 << 22
"""Most bytes of a row, which is kept in memory."""
MOST_COLUMNS = 2000
AT_ONCE = 500
MOST_ROWS = 1 << 20
SAVE = "save it as CSV (UTF-8)"


class Workbook:
    """One workbook. Call `header`, then `batches`. Both raise ManifestProblem."""

    def __init__(self, file: str, stream: BinaryIO) -> None:
        self._file = file
        self._rows = self._numbered(self._open(stream))
        self._width = 0

    def header(self) -> Header:
        for number, cells in self._rows:
            if not cells[0].startswith("#"):
                self._width = len(cells)
                return Header(number, [cell.strip() for cell in cells])
        raise self._problem(None, "is empty: its first sheet has neither a header nor rows")

    def batches(self) -> Iterator[tuple[Sequence[int], list[list[str]]]]:
        """Yield some hundred rows at a time: their numbers, and their cells, at least as many as in the header."""
        rows = ((number, cells) for number, cells in self._rows if not is_comment(cells[0]))
        while some := list(islice(rows, AT_ONCE)):
            yield [number for number, _ in some], [cells + [""] * (self._width - len(cells)) for _, cells in some]

    def _numbered(self, sheet: Any) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of each non-empty row, up to its last non-empty cell."""
        number = 0
        try:
            for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
                cells = self._cells(number, row)
                if cells:
                    yield number, cells
        except ManifestProblem:
            raise
        except Exception:  # noqa: BLE001 - openpyxl raises any exception for a broken file
            raise self._unreadable(number + 1) from None

    def _cells(self, number: int, row: Sequence[object]) -> list[str]:
        if number > MOST_ROWS or len(row) > MOST_COLUMNS:
            raise self._problem(number, f"is a sheet of more than {MOST_COLUMNS:,} columns or {MOST_ROWS:,} rows")
        cells = [self._text(number, value) for value in row]
        while cells and not cells[-1].strip():
            cells.pop()
        return cells

    def _text(self, number: int, value: object) -> str:
        """Return a cell as text: dates in ISO 8601, 1.0 as 1."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        if isinstance(value, datetime | date | time):
            return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
        text = str(value)
        if text in ERRORS:
            raise self._problem(number, f"has a cell with the error {text}; correct it, or clear the cell")
        return text

    def _open(self, stream: BinaryIO) -> Any:
        """Return the first sheet. Refuse a workbook that would fill the memory before it is unpacked."""
        try:
            import openpyxl  # noqa: PLC0415 - an extra
        except ImportError:
            sentence = f"is an Excel workbook: {SAVE}, or pip install 'batchswap[xlsx]' to read its first sheet"
            raise self._problem(None, sentence) from None
        try:
            with zipfile.ZipFile(stream) as parts:
                fits = is_bounded(parts)
            if fits:
                book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
                sheet = book.worksheets[0]
                sheet.reset_dimensions()
                return sheet
        except Exception:  # noqa: BLE001 - see above
            raise self._unreadable(None) from None
        raise self._problem(None, f"is an Excel workbook that is too large: {SAVE}")

    def _unreadable(self, number: int | None) -> ManifestProblem:
        return self._problem(number, f"is an Excel workbook that cannot be read: {SAVE}")

    def _problem(self, number: int | None, sentence: str) -> ManifestProblem:
        return ManifestProblem(self._file, number, None, sentence)


ERRORS = {"#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"}


def is_bounded(parts: zipfile.ZipFile) -> bool:
    """Return whether the sizes of a workbook's parts and rows allow to read it in little memory."""
    sizes = {part.filename: part.file_size for part in parts.infolist()}
    texts = sum(size for name, size in sizes.items() if "worksheets/" not in name)
    if texts > LARGEST_TEXTS or sum(sizes.values()) > LARGEST:
        return False
    return all(has_rows(parts, name) for name in sizes if "worksheets/" in name)


def has_rows(parts: zipfile.ZipFile, name: str) -> bool:
    """Return whether no row of a sheet is longer than LONGEST_ROW."""
    with parts.open(name) as part:
        stretches = iter(lambda: part.read(LONGEST_ROW), b"")
        return all(b"row>" in each for each in stretches if len(each) == LONGEST_ROW)
