"""The formats: bytes → lists of checked rows."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, BinaryIO

import msgspec

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest.document import Document
from batchswap.manifest.events import LOADER, Events
from batchswap.manifest.fields import LONGEST_KEY, plain_text
from batchswap.manifest.inputs import Inputs
from batchswap.manifest.json_events import JsonEvents
from batchswap.manifest.jsonl import read_lines
from batchswap.manifest.matrix import Folder
from batchswap.manifest.nodes import NO_FIELDS, Flaws, filled, to_fields
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.plain import Plain
from batchswap.manifest.problems import Problems
from batchswap.manifest.rows import Checker, Record
from batchswap.manifest.separated import Header, Lines, is_empty, read_header, split, to_record
from batchswap.manifest.sources import Options, Source, default_batch
from batchswap.tasks import Row

CHUNK = 500
"""Rows in a list, at least, where there are so many."""


class Place(msgspec.Struct, frozen=True):
    """One manifest, and where its problems go."""

    source: Source
    options: Options
    names: Outputs
    problems: Problems
    folder: Folder

    def complain(self, line: int | None, field: str | None, message: str) -> None:
        self.problems.add(ManifestProblem(self.source.path, line, field, message))

    def checker(self, own_name: str | None = None) -> Checker:
        """For rows of the batch that the caller, the manifest itself, or its file name says."""
        batch = self.source.batch or own_name or default_batch(self.source.path)
        try:
            plain_text(batch, LONGEST_KEY)
        except Flaw as flaw:
            self.complain(None, "name", f"of the batch {flaw}")
        inputs = Inputs(self.folder.path, check_files=self.options.check_files)
        require = self.options.require_consent
        return Checker(self.source.path, batch, inputs, self.names, self.problems, require_consent=require)


Reader = Callable[[Place, BinaryIO], Iterator[tuple[str, list[Row]]]]
"""Yields (batch, rows). Problems go to the place; ManifestProblem and UnicodeDecodeError end the manifest."""


def read_csv(place: Place, stream: BinaryIO, *, quick: bool = True) -> Iterator[tuple[str, list[Row]]]:
    """`quick` False takes every line the long way: for tests, which compare."""
    checker = place.checker()
    with closing(Lines(stream)) as lines:
        header = read_header(checker.file, lines)
        problems = list(header.problems(require_consent=checker.require_consent))
        for column, sentence in problems:
            checker.complain(header.line, column, sentence)
        if not problems:
            rows: list[Row] = []
            for some in csv_rows(header, checker, lines, quick_way(header, checker) if quick else None):
                rows += some
                # Of one length, whatever was found at once: who stores them makes a statement for each length.
                while len(rows) >= CHUNK:
                    yield checker.batch, rows[:CHUNK]
                    del rows[:CHUNK]
            yield checker.batch, rows


def csv_rows(header: Header, checker: Checker, lines: Lines, plain: Plain | None) -> Iterator[list[Row]]:
    """The rows of a block of lines; or fewer, so that those before a line with a problem come before it is known."""
    while block := lines.block():
        if plain and (found := plain.rows(lines.number + 1, block)) is not None:
            lines.done(len(found))
            yield found
            continue
        rows: list[Row] = []
        for number, line in lines.one_by_one(block):
            if plain and (row := plain.row(number, line)) is not None:
                rows.append(row)
            elif not is_empty(line):
                yield rows
                rows = []
                yield careful_rows(header, checker, number, line, lines)
        yield rows


def quick_way(header: Header, checker: Checker) -> Plain | None:
    """What knows plain lines. Only with outputs in one folder, which is looked at here, there is one."""
    head = checker.names.head(checker.batch)
    if head is None or "face" not in header.names:
        return None
    try:
        checker.names.check(f"{head}x")
    except Flaw:
        return None
    return Plain(header, head, require_consent=checker.require_consent)


def careful_rows(
    header: Header, checker: Checker, number: int, line: str, lines: Iterator[tuple[int, str]]
) -> list[Row]:
    """The rows of any line, with all that can be wrong with it."""
    try:
        record = to_record(header, number, split(checker.file, number, line, lines, header.separator))
    except Flaw as flaw:
        checker.complain(number, None, str(flaw))
        return []
    return checker.rows(record) if record else []


def read_document(place: Place, stream: BinaryIO, loader: Callable[[Any], Any]) -> Iterator[tuple[str, list[Row]]]:
    file, start = place.source.path, stream.tell()
    prologue = Document(file, Events(file, stream, loader), place.complain).prologue()
    checker = place.checker(prologue.name)
    stream.seek(start)
    document = Document(file, Events(file, stream, loader), place.complain)
    yield from in_chunks(checker, document.records(prologue.defaults, place.folder))


def read_yaml(place: Place, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    return read_document(place, stream, LOADER)


def read_json(place: Place, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    return read_document(place, stream, partial(JsonEvents, place.source.path))


def read_jsonl(place: Place, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    checker = place.checker()
    with closing(Lines(stream)) as lines:
        yield from in_chunks(checker, json_records(checker, lines))


def json_records(checker: Checker, lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    for number, node in read_lines(checker.file, lines):
        if isinstance(node, Flaw):
            checker.complain(number, None, str(node))
            continue
        try:
            yield filled(number, to_fields(node), NO_FIELDS)
        except Flaws as flaws:
            for field, sentence in flaws.found:
                checker.complain(number, field or None, sentence)


def in_chunks(checker: Checker, records: Iterator[Record]) -> Iterator[tuple[str, list[Row]]]:
    rows: list[Row] = []
    for record in records:
        rows += checker.rows(record)
        if len(rows) >= CHUNK:
            yield checker.batch, rows
            rows = []
    yield checker.batch, rows


READERS: dict[str, Reader] = {"csv": read_csv, "yaml": read_yaml, "json": read_json, "jsonl": read_jsonl}
