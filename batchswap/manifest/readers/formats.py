"""The readers of all formats, from bytes to lists of checked rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, BinaryIO

import msgspec

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest.consents import Consents
from batchswap.manifest.fields import LONGEST_KEY, plain_text
from batchswap.manifest.inputs import ManifestInputs
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.readers.columns import Columns
from batchswap.manifest.readers.csv import Header, Lines, Table
from batchswap.manifest.readers.json_events import JsonEvents
from batchswap.manifest.readers.jsonl import json_records
from batchswap.manifest.readers.matrix import Folder
from batchswap.manifest.readers.workbook import Workbook
from batchswap.manifest.readers.yaml import Document
from batchswap.manifest.readers.yaml_events import LOADER, Events
from batchswap.manifest.rows import Checker, Problems, RawRow
from batchswap.manifest.sources import Options, Source, default_batch
from batchswap.tasks import Row

CHUNK = 500
"""Least number of rows in a list, except for the last one."""


class Manifest(msgspec.Struct, frozen=True):
    """One manifest and the collector of its problems."""

    source: Source
    options: Options
    names: Outputs
    problems: Problems
    folder: Folder
    consents: Consents

    def complain(self, line: int | None, field: str | None, message: str) -> None:
        self.problems.add(ManifestProblem(self.source.path, line, field, message))

    def checker(self, own_name: str | None = None) -> Checker:
        """Return a checker for the batch that the caller, the manifest itself, or else its file name determines."""
        batch = self.source.batch or own_name or default_batch(self.source.path)
        try:
            plain_text(batch, LONGEST_KEY)
        except Flaw as flaw:
            self.complain(None, "name", f"of the batch {flaw}")
        inputs = ManifestInputs(self.folder.path, check_files=self.options.check_files)
        return Checker(self.source.path, batch, inputs, self.names, self.problems, self.consents)


FormatReader = Callable[[Manifest, BinaryIO], Iterator[tuple[str, list[Row]]]]
"""Yield (batch, rows). Report problems to the manifest. Raise ManifestProblem or UnicodeDecodeError to end it."""


def read_csv(place: Manifest, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    checker = place.checker()
    with closing(Lines(stream)) as lines:
        table = Table(checker.file, lines)
        yield from read_table(checker, table.header(), table.batches(checker.complain))


def read_workbook(place: Manifest, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    checker = place.checker()
    book = Workbook(checker.file, stream)
    yield from read_table(checker, book.header(), book.batches())


def read_table(
    checker: Checker, header: Header, batches: Iterator[tuple[Sequence[int], list[list[str]]]]
) -> Iterator[tuple[str, list[Row]]]:
    problems = list(header.problems(checker.consents.required_by))
    for column, sentence in problems:
        checker.complain(header.line, column, sentence)
    if problems:
        return
    columns = Columns(header, checker)
    rows: list[Row] = []
    for some in (some for numbers, cells in batches for some in columns.rows(numbers, cells)):
        rows += some
        # Equal lengths, because the ledger prepares one statement for each length.
        while len(rows) >= CHUNK:
            yield checker.batch, rows[:CHUNK]
            del rows[:CHUNK]
    yield checker.batch, rows


def read_document(place: Manifest, stream: BinaryIO, loader: Callable[[Any], Any]) -> Iterator[tuple[str, list[Row]]]:
    file, start = place.source.path, stream.tell()
    prologue = Document(file, Events(file, stream, loader), place.complain).prologue()
    checker = place.checker(prologue.name)
    stream.seek(start)
    document = Document(file, Events(file, stream, loader), place.complain)
    yield from in_chunks(checker, document.records(prologue.defaults, place.folder))


def read_yaml(place: Manifest, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    return read_document(place, stream, LOADER)


def read_json(place: Manifest, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    return read_document(place, stream, partial(JsonEvents, place.source.path))


def read_jsonl(place: Manifest, stream: BinaryIO) -> Iterator[tuple[str, list[Row]]]:
    checker = place.checker()
    with closing(Lines(stream)) as lines:
        yield from in_chunks(checker, json_records(checker.file, iter(lines), checker.complain))


def in_chunks(checker: Checker, records: Iterator[RawRow]) -> Iterator[tuple[str, list[Row]]]:
    rows: list[Row] = []
    for record in records:
        rows += checker.rows(record)
        if len(rows) >= CHUNK:
            yield checker.batch, rows
            rows = []
    yield checker.batch, rows


READERS: dict[str, FormatReader] = {
    "csv": read_csv,
    "yaml": read_yaml,
    "json": read_json,
    "jsonl": read_jsonl,
    "xlsx": read_workbook,
}
