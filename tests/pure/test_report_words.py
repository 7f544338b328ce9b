"""Formatting of texts, numbers and tables."""

import csv
import io
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.report import formatting
from batchswap.report.task_list import FORMULA, _csv_line, harmless

ANY = st.text(st.characters(), max_size=80)


@given(ANY)
def test_safe_text_is_one_printable_line(text: str) -> None:
    assert formatting.safe(text).isprintable()


def test_safe_text_shows_no_secret() -> None:
    said = formatting.safe("see https://host/v.mp4?X-Signature=abc and ak_0123456789abcdef0123456789abcdef")
    assert said == "see https://host/v.mp4?… and ak_…"


@given(ANY, st.integers(0, 40))
def test_a_shortened_text_fits(text: str, columns: int) -> None:
    assert formatting.cells(formatting.fit(text, columns)) <= columns


def test_wide_letters_take_two_columns() -> None:
    assert formatting.cells("日本") == 4
    assert formatting.cells(unicodedata.normalize("NFD", "é")) == 1
    assert formatting.fit("日本語", 5) == "日本…"


@pytest.mark.parametrize(
    ("amount", "text"), [(400.0, "400"), (12.5, "12.5"), (0.0, "0"), (99600.25, "99,600.25"), (None, "unknown")]
)
def test_money(amount: float | None, text: str) -> None:
    assert formatting.money(amount) == text
    assert formatting.priced(amount) == f"{text} credits"


def test_one_credit_is_singular() -> None:
    assert formatting.priced(1.0) == "1 credit"
    assert formatting.priced(1.5) == "1.5 credits"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (21.4, "21 s"), (59.6, "1 min"), (201, "3 min 21 s"), (7500, "2 h 5 min")],
)
def test_spans(seconds: float, text: str) -> None:
    assert formatting.span(seconds) == text


def test_sizes() -> None:
    assert [formatting.size(n) for n in (None, 812, 4_200_000, 9_900_000_000)] == ["", "812 B", "4.2 MB", "9.9 GB"]


@given(st.lists(st.tuples(ANY, ANY), max_size=20), st.integers(20, 100))
def test_a_table_is_not_wider_than_the_terminal(rows: list[tuple[str, str]], columns: int) -> None:
    for line in formatting.table(("key", "reason"), rows, columns=columns):
        assert formatting.cells(line) <= columns


def test_a_table_is_a_stream() -> None:
    """Widths come from the first rows, so the first line is printed before the last row is read."""
    read = []

    def coming() -> Iterator[tuple[str, str]]:
        for i in range(1000):
            read.append(i)
            yield (str(i), "x")

    lines = formatting.table(("n", "x"), coming(), columns=80, sample=10)
    assert next(lines).split() == ["n", "x"]
    assert len(read) <= 11
    assert sum(1 for _ in lines) == 1000


def test_columns_are_aligned() -> None:
    lines = list(formatting.table(("n", "name"), [("1", "日本"), ("200", "b")], columns=None, right=frozenset({0})))
    assert lines == ["  n  name", "  1  日本", "200  b"]


@given(ANY)
def test_no_cell_is_a_formula(text: str) -> None:
    cell = harmless(text)
    assert not cell.startswith(FORMULA)
    assert cell.removeprefix("'") == text.removeprefix("'")


@given(st.lists(ANY, min_size=1, max_size=5))
def test_written_csv_is_read_again(cells: list[str]) -> None:
    if any("\0" in cell for cell in cells):
        return
    assert next(csv.reader(io.StringIO(_csv_line(cells), newline=""))) == cells


def test_numbers_stay_numbers() -> None:
    assert harmless(-1.5) == -1.5


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert (formatting.moment(1_790_000_000.9), formatting.moment(None)) == ("2026-09-21 16:13:20", "")
        assert (formatting.iso(1_790_000_000.9), formatting.iso(None)) == ("2026-09-21T14:13:20Z", None)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    rows = [("a", "日本"), ("abc", "x")]
    assert formatting.breadth(rows) == 3 + 2 + 4
    assert max(formatting.cells(line) for line in formatting.table(("", ""), rows, columns=None)) == 9


def test_the_widest_columns_are_cut_first_and_none_below_eight() -> None:
    row = ("a" * 30, "b" * 10, "c" * 3)
    assert [len(line) for line in formatting.table(("", "", ""), [row], columns=27)][1] == 27
    assert [len(line) for line in formatting.table(("", "", ""), [row], columns=1)][1] == 8 + 8 + 3 + 4
