"""The first sheet of an Excel workbook as a manifest, and spreadsheets that cannot be read."""

import datetime as dt
import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from tests.pure.manifest_texts import F, V, error_of, errors_of, rows_of

HEADER = ["id", "video", "face", "consent", "x_note"]


def workbook(*rows: Sequence[object]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    book.create_sheet("Other").append(["not", "read"])
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def changed(data: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """Return the workbook with other bytes in one of its parts."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            text = before.read(name)
            after.writestr(name, text.replace(old, new) if name == part else text)
    return made.getvalue()


def test_rows_of_a_workbook() -> None:
    day = dt.datetime(2026, 11, 27, 8, 30)  # noqa: DTZ001 - as Excel has it
    data = workbook(
        ["# by hand"],
        [],
        HEADER,
        [1, V, F, None, day],
        [2.0, V, F, True],
        [],
        ["# no"],
        ["#3", f" {V} ", F, 1.5, "two\nlines"],
    )
    rows = rows_of(data, None)
    assert [(row.key, row.line, row.consent, row.extra) for row in rows] == [
        ("1", 4, "", (("x_note", "2026-11-27 08:30:00"),)),
        ("2", 5, "true", ()),
        ("#3", 8, "1.5", (("x_note", "two\nlines"),)),
    ]
    assert {(row.target, row.face) for row in rows} == {(V, F)}


def test_errors_name_the_row() -> None:
    data = workbook(HEADER, ["a", "ftp://x", F], ["b", V, F, "", "", "more"], ["c", "=A2", F])
    assert [error.split(": ")[0] for error in errors_of(data, None)] == ["-:2", "-:3", "-:4"]


def test_a_cell_with_an_error_is_named() -> None:
    data = changed(
        workbook(HEADER, ["a", V, F], ["b", V, F, 7]), "xl/worksheets/sheet1.xml", b't="n"><v>7<', b't="e"><v>#REF!<'
    )
    assert error_of(data, None) == "-:3: has a cell with the error #REF!; correct it, or clear the cell"


BROKEN = [
    (workbook([]), "-: is empty: its first sheet has neither a header nor rows"),
    (b"PK\x03\x04 and no more", "-: is an Excel workbook that cannot be read: save it as CSV (UTF-8)"),
    (
        changed(workbook(HEADER), "xl/worksheets/sheet1.xml", b"</row>", b""),
        "-:1: is an Excel workbook that cannot be read",
    ),
    (
        changed(workbook(HEADER), "xl/worksheets/sheet1.xml", b'<row r="1">', b'<row r="99999999">'),
        "-:1048577: is a sheet of more than 2,000 columns or 1,048,576 rows",
    ),
    (workbook([None] * 2000 + ["x"]), "-:1: is a sheet of more than 2,000 columns or 1,048,576 rows"),
    (
        changed(workbook(HEADER), "xl/worksheets/sheet1.xml", b"</row>", b"<c><v>1</v></c>" * 700_000 + b"</row>"),
        "-: is an Excel workbook that is too large: save it as CSV (UTF-8)",
    ),
    (
        changed(workbook(HEADER), "xl/styles.xml", b"<styleSheet", b" " * (65 << 20) + b"<styleSheet"),
        "-: is an Excel workbook that is too large: save it as CSV (UTF-8)",
    ),
]


@pytest.mark.parametrize(("data", "sentence"), BROKEN)
def test_workbooks_that_cannot_be_read(data: bytes, sentence: str) -> None:
    assert [error[: len(sentence)] for error in errors_of(data, "csv")] == [sentence]


def test_without_openpyxl_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert error_of(workbook(HEADER), None) == (
        "-: is an Excel workbook: save it as CSV (UTF-8), or pip install 'batchswap[xlsx]' to read its first sheet"
    )


@pytest.mark.parametrize(
    ("name", "start", "sentence"),
    [
        ("m.ods", b"PK\x03\x04", "is an OpenDocument spreadsheet: save it as CSV (UTF-8), or as .xlsx"),
        ("m.numbers", b"PK\x03\x04", "is a Numbers spreadsheet: save it as CSV (UTF-8), or as .xlsx"),
        ("m.xls", b"\xd0\xcf\x11\xe0", "is an old Excel workbook: save it as CSV (UTF-8), or as .xlsx"),
    ],
)
def test_other_spreadsheets_are_named(tmp_path: Path, name: str, start: bytes, sentence: str) -> None:
    from tests.pure.manifest_texts import file_errors

    (tmp_path / name).write_bytes(start + b"\0" * 600)
    assert file_errors(tmp_path / name) == [f"{tmp_path / name}: {sentence}"]
