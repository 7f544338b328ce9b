"""The quick way and the long way give the same rows, and no bytes at all give anything but rows or ManifestErrors."""

import io
import itertools
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchswap.errors import UsageError
from batchswap.manifest import Format, Options, Source, read
from batchswap.manifest.formats import Place, quick_way, read_csv
from batchswap.manifest.matrix import Folder
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.plain import Plain
from batchswap.manifest.problems import Problems
from batchswap.manifest.separated import Lines, read_header
from batchswap.tasks import Row
from tests.pure.manifest_texts import F, V

FIELDS = ["id", "video", "face", "image", "face_0", "output", "consent", "tags", "repeat", "x_note", "meta.y"]
HOSTILE = st.text(st.sampled_from('aZ09._-;,"# \t\n\r\x00\x1f\x7f\x85\xa0\xad\u2028\u202e/\\:?@ü漢😀{}%'), max_size=8)
KEYS = st.one_of(
    st.sampled_from(["a", "CON", "con.x", "a.", ".a", "-a", "a-b_c.d", "lpt1", "com1x", "k" * 130]), HOSTILE
)
URLS = st.one_of(
    st.sampled_from([V, F, "http://h/", "https://h", "https://-h/", "https://h:99/x", "https://u@h/", "https://h:9x/"]),
    st.builds("https://h.example/{}".format, HOSTILE),
    HOSTILE,
)
CELLS = {
    "id": KEYS,
    "video": URLS,
    "face": URLS,
    "image": st.sampled_from(["", "", "", V]),
    "face_0": st.sampled_from(["", "", "", F]),
    "output": st.sampled_from(["", "", "", "o.mp4", "../x", "/x"]),
    "repeat": st.sampled_from(["", "", "1", "2", "0", "01"]),
    "tags": st.one_of(st.sampled_from(["", "a;b", "a; a", ";;", "t" * 101, ";".join("abcdefghij" * 6)]), HOSTILE),
}


def quoted(cell: str, separator: str, *, always: bool) -> str:
    if always or any(c in cell for c in (separator, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@st.composite
def tables(draw: st.DrawFn) -> str:
    """CSV of rows that are mostly right, written in several ways."""
    names = draw(
        st.lists(st.sampled_from(FIELDS), unique=True).map(lambda some: [*dict.fromkeys(["video", "face", *some])])
    )
    names = draw(st.permutations(names))
    separator, end = draw(st.sampled_from(",;\t")), draw(st.sampled_from(["\n", "\r\n"]))
    always = draw(st.booleans())
    lines = [separator.join(names)]
    for _ in range(draw(st.integers(0, 4))):
        cells = [draw(st.sampled_from([V, F]) | CELLS.get(name, HOSTILE)) for name in names]
        lines.append(separator.join(quoted(cell, separator, always=always) for cell in cells))
    return end.join(lines) + draw(st.sampled_from(["", end]))


def one_way(text: str, options: Options, *, quick: bool) -> tuple[list[Row], list[str]]:
    problems = Problems()
    place = Place(Source("-", "csv", "b"), options, Outputs(options.out, options.name_template), problems, Folder("."))
    rows: list[Row] = []
    try:
        for _, some in read_csv(place, io.BytesIO(text.encode()), quick=quick):
            rows += some
    except Exception as error:
        return rows, [str(error)]
    return rows, [str(problem) for problem in problems.errors().problems] if problems.count else []


@settings(max_examples=400, deadline=None)
@given(tables(), st.booleans(), st.sampled_from(["{batch}/{key}{ext}", "{key}{ext}", "x/{line}-{stem}{ext}"]))
@example(f"video,face,consent\n{V},{F},\n", True, "{batch}/{key}{ext}")
@example(f"video,face,x_a\n{V},{F},\xa0b\n", False, "{batch}/{key}{ext}")
@example(f"id,video,face\ncon.b,{V},{F}\n", False, "{batch}/{key}{ext}")
@example(f"consent,video,face\n# a,{V},{F}\n", False, "{batch}/{key}{ext}")
def test_both_ways_give_the_same(text: str, require_consent: bool, template: str) -> None:
    options = Options(name_template=template, require_consent=require_consent, check_files=False)
    assert one_way(text, options, quick=True) == one_way(text, options, quick=False)


def plain_rows(text: str) -> Plain:
    options = Options(check_files=False)
    place = Place(Source("-", "csv", "b"), options, Outputs(options.out), Problems(), Folder("."))
    found = quick_way(read_header("-", Lines(io.BytesIO(text.encode()))), place.checker())
    assert found is not None
    return found


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_ordinary_rows_are_plain(end: str) -> None:
    plain = plain_rows("id,video,face,consent,tags,x_n\n")
    row = plain.row(7, f"clip-1,{V},{F},Müller release 7,de;hero,7{end}")
    assert row is not None
    assert (row.key, row.output, row.line, row.consent, row.tags, row.extra) == (
        "clip-1",
        "b/clip-1.mp4",
        7,
        "Müller release 7",
        ("de", "hero"),
        (("x_n", "7"),),
    )
    assert plain.row(8, f",{V},{F},,,{end}") is not None


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_block_of_plain_lines_gives_their_rows(end: str) -> None:
    plain = plain_rows("id,video,face,tags\n")
    lines = [f"k{n},{V},{F},de;n{n % 3}{end}" for n in range(9)]
    assert plain.rows(2, "".join(lines)) == [plain.row(n, line) for n, line in enumerate(lines, 2)]


OTHERS = [
    "# c,{V},{F},",
    '"c",{V},{F},',
    "c,{V},{F}",
    "c,{V},{F},,",
    "c,{V},clips/a.png,",
    "nul,{V},{F},",
    "c ,{V},{F},",
    "c,,{F},",
    "",
    "a,{V},{F},\rc,{V},{F},",
]


@pytest.mark.parametrize("line", OTHERS)
def test_others_are_left_to_the_long_way(line: str) -> None:
    plain = plain_rows("id,video,face,tags\n")
    odd, even = line.format(V=V, F=F) + "\n", f"k,{V},{F},\n"
    assert plain.row(2, odd) is None
    assert plain.rows(2, even + even) is not None
    for block in (odd + even, even + odd, even + odd + even, even + even.rstrip(), even + even.replace("\n", "\r")):
        assert plain.rows(2, block) is None


TEXTS = st.text(st.sampled_from('ab,"\n\r\x85\u2028漢'), max_size=40)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 12), st.lists(st.sampled_from(["done", "one by one", "two at once", "next"]), max_size=9))
def test_by_the_block_or_one_by_one_the_lines_and_their_numbers_are_the_same(
    text: str, size: int, ways: list[str]
) -> None:
    """Blocks end where lines end, and who takes further lines inside of one gets those that follow."""
    expected = list(enumerate(io.StringIO(text, newline=""), 1))
    found: list[tuple[int, str]] = []
    lines = Lines(io.BytesIO(text.encode()), size)
    for way in itertools.cycle([*ways, "one by one"]):
        if way == "next":
            found += itertools.islice(lines, 1)
            continue
        if not (block := lines.block()):
            break
        if way == "done":
            some = list(io.StringIO(block, newline=""))
            found += enumerate(some, lines.number + 1)
            lines.done(len(some))
            continue
        for one in lines.one_by_one(block):
            found.append(one)
            found += itertools.islice(lines, 2 if way == "two at once" else 0)
    assert found == expected
    lines.close()


def test_thousands_of_rows_keep_their_order_and_lines() -> None:
    odd = [f'"k{n}",{V}?{n},{F}' if n % 7 == 0 else f"k{n},{V}?{n},{F}" for n in range(5000)]
    chunks = list(
        read(
            [Source("-", "csv")], Options(check_files=False), io.BytesIO(("id,video,face\n" + "\n".join(odd)).encode())
        )
    )
    rows = [row for chunk in chunks for row in chunk.rows]
    assert [row.key for row in rows] == [f"k{n}" for n in range(5000)]
    assert [row.line for row in rows] == list(range(2, 5002))
    assert {len(chunk.rows) for chunk in chunks} == {500}


def test_a_row_of_several_lines_amid_thousands_is_one_row(tmp_path: Path) -> None:
    """Before and behind them whole blocks are read at once; and one lies across two blocks."""
    rows = [f"k{n:04},{V},{F},{'long' * 9}\n" for n in range(3000)]
    for n in range(1400, 1800):
        rows[n] = f'k{n:04},{V},{F},"two\nlines"\n'
    (tmp_path / "a.csv").write_text("id,video,face,x_n\n" + "".join(rows))
    found = [row for chunk in read([Source(str(tmp_path / "a.csv"))], Options(check_files=False)) for row in chunk.rows]
    assert [row.key for row in found] == [f"k{n:04}" for n in range(3000)]
    before = [sum("two" in row for row in rows[:n]) for n in range(3000)]
    assert [row.line for row in found] == [n + 2 + more for n, more in enumerate(before)]
    assert [row.extra[0][1] for row in found if "two" in row.extra[0][1]] == ["two\nlines"] * 400


PIECES = (
    r"video,face\n|id,|,|\n|\r|\t|\"|#|\x00|\xff|\xef\xbb\xbf|- |  |tasks:\n|matrix:|name: |defaults:|{|}|[|]|: |"
    r"&a |*a|<<|!!python/x |---\n|video: |face: |faces|tags|repeat|null|true|1e400|{\"video\":\"|\":|\\ud800"
)
PIECE = st.sampled_from(
    [V.encode(), F.encode(), *(p.encode().decode("unicode_escape").encode("latin-1") for p in PIECES.split("|"))]
)


@pytest.mark.parametrize("format", ["csv", "yaml", "json", "jsonl", None])
@settings(max_examples=250, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(PIECE, max_size=25).map(b"".join)))
@example(b"[" * 3000)
@example(b"{a: " * 3000)
@example(b'{"a":' * 3000)
@example(b"tasks: [" * 300)
def test_no_bytes_give_anything_but_usage_errors(format: Format | None, data: bytes) -> None:  # noqa: A002
    try:
        for chunk in read([Source("-", format)], Options(), io.BytesIO(data)):
            assert all(isinstance(row, Row) for row in chunk.rows)
    except UsageError as error:
        assert str(error)
