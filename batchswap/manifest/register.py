"""Read the register of releases: a CSV file that lists what people have allowed, and until when.

No message shows a cell other than the reference: the others may name a person.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import BinaryIO, TypeVar

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest.consents import Register, Release
from batchswap.manifest.fields import checked_tags, is_kept, nearest, plain_text, shown, split_tags
from batchswap.manifest.readers.csv import Header, Lines, Table, printable, width_sentence
from batchswap.manifest.rows import Problems
from batchswap.manifest.sources import ManifestFiles, folder_of, utf8_problem
from batchswap.tasks import is_url

FIELDS = ("reference", "person", "valid_from", "valid_until", "scope", "evidence")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NO_HEADER = f"has no header: the first line must name the columns, {','.join(FIELDS)}"
T = TypeVar("T")


def read_register(path: str, problems: Problems) -> Register:
    """Return the releases of a register. All its problems go to `problems`."""
    reader = _RegisterReader(path, problems)
    with closing(ManifestFiles()) as files:
        try:
            with files.open(path) as stream:
                try:
                    reader.read(stream)
                except UnicodeDecodeError:
                    raise utf8_problem(path, stream) from None
        except ManifestProblem as problem:
            problems.add(problem)
            reader.is_whole = False
    return Register(path, reader.releases, reader.is_whole)


class _RegisterReader:
    """Collects the releases of one file."""

    def __init__(self, path: str, problems: Problems) -> None:
        self.releases: dict[str, Release | None] = {}
        self.is_whole = True
        self._path, self._folder, self._problems = path, folder_of(path), problems
        self._lines: dict[str, int] = {}

    def _complain(self, line: int | None, field: str | None, message: str) -> None:
        self._problems.add(ManifestProblem(self._path, line, field, message))

    def _complain_of_row(self, line: int | None, field: str | None, message: str) -> None:
        """Report a row whose reference is not known."""
        self._complain(line, field, message)
        self.is_whole = False

    def read(self, stream: BinaryIO) -> None:
        """Read everything. Raise ManifestProblem if the text cannot be split into records."""
        with closing(Lines(stream)) as lines:
            table = Table(self._path, lines)
            header = table.header()
            problems = list(header_problems(header.columns))
            for column, sentence in problems:
                self._complain_of_row(header.line, column, sentence)
            for numbers, records in () if problems else table.batches(self._complain_of_row):
                for number, cells in zip(numbers, records, strict=True):
                    self._take(header, number, cells)

    def _take(self, header: Header, line: int, cells: list[str]) -> None:
        """Read one release."""
        if not "".join(cells).strip():
            return
        if len(cells) != len(header.columns):
            self._complain_of_row(line, None, width_sentence(header, cells))
            return
        values = {field: cell.strip() for field, cell in zip(header.columns, cells, strict=True)}
        before = self._problems.count
        reference = self._checked(line, "reference", values, checked_reference)
        if reference is None:
            self.is_whole = False
            return
        if (first := self._lines.setdefault(reference, line)) != line:
            self._complain(line, "reference", f"{shown(reference)} is also in line {first}")
            self.releases[reference] = None
            return
        release = self._release(reference, line, values)
        self.releases[reference] = release if self._problems.count == before else None

    def _release(self, reference: str, line: int, values: dict[str, str]) -> Release:
        start = self._checked(line, "valid_from", values, checked_day)
        end = self._checked(line, "valid_until", values, checked_day)
        if start is not None and end is not None and end < start:
            self._complain(line, "valid_until", "is before valid_from")
        scope = self._checked(line, "scope", values, checked_scope)
        evidence = self._checked(line, "evidence", values, self._checked_evidence)
        return Release(reference, line, start, end, scope or (), evidence or "")

    def _checked(self, line: int, field: str, values: dict[str, str], check: Callable[[str], T]) -> T | None:
        """Return the checked value; None if it has a problem, which is reported."""
        try:
            return check(values.get(field, ""))
        except Flaw as flaw:
            self._complain(line, field, str(flaw))
            return None

    def _checked_evidence(self, text: str) -> str:
        """Return the absolute path of a readable file; "" if none is given. Raise Flaw."""
        if not text:
            return ""
        if is_url(text):
            raise Flaw("is a URL: keep the file next to the register, and give its path")
        path = Path(self._folder, text)
        try:
            found = path.stat()
            is_readable = os.access(path, os.R_OK)
        except FileNotFoundError:
            raise Flaw(f"does not exist; looked in {shown(self._folder, 200)}") from None
        except (OSError, ValueError) as error:
            raise Flaw(f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})") from None
        if not stat.S_ISREG(found.st_mode):
            raise Flaw("is not a regular file")
        if found.st_size == 0:
            raise Flaw("is an empty file")
        if not is_readable:
            raise Flaw("cannot be read (Permission denied)")
        return str(path)


def header_problems(columns: list[str]) -> Iterator[tuple[str | None, str]]:
    """Yield (column, problem)."""
    if not set(columns) & set(FIELDS):
        yield None, NO_HEADER
        return
    for number, column in enumerate(columns, 1):
        first = columns.index(column) + 1
        if not column:
            yield f"column {number}", "has no name in the header"
        elif first != number:
            yield printable(column), f"occurs twice: columns {first} and {number}"
        elif column not in FIELDS and not is_kept(column):
            near = nearest(column, FIELDS)
            sentence = f'is not a column of a register; did you mean "{near}"?'
            yield printable(column), f"{sentence} (names that begin with x_ or meta. are ignored)"
    if "reference" not in columns:
        yield "reference", "is missing in the header: every release needs one"


def checked_reference(text: str) -> str:
    """Return a reference that rows can name. Raise Flaw."""
    if not text:
        raise Flaw("is missing: every release needs one")
    return plain_text(text)


def checked_day(text: str) -> date | None:
    """Return the day; None if none is given. Raise Flaw."""
    if not text:
        return None
    try:
        if DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Flaw("must be a day such as 2026-12-31")


def checked_scope(text: str) -> tuple[str, ...]:
    """Return the tags. Raise Flaw, without the text."""
    try:
        return checked_tags(split_tags(text))
    except Flaw:
        raise Flaw('must be printable tags, separated by ";"') from None
