"""The quick way and the long way give the same rows, and no bytes at all give anything but rows or ManifestErrors."""

import io
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchswap.errors import UsageError
from batchswap.manifest import Format, Options, Source, read
from batchswap.manifest.formats import Place, quick_way, read_csv
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.problems import Problems
from batchswap.manifest.separated import numbered_lines, read_header
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
    place = Place(Source("-", "csv", "b"), options, Outputs(options.out, options.name_template), problems)
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
@example(f"consent,video,face\n#a,{V},{F}\n", False, "{batch}/{key}{ext}")
def test_both_ways_give_the_same(text: str, require_consent: bool, template: str) -> None:
    options = Options(name_template=template, require_consent=require_consent, check_files=False)
    assert one_way(text, options, quick=True) == one_way(text, options, quick=False)


def plain_function(text: str) -> Callable[[int, str], Row | None]:
    options = Options(check_files=False)
    place = Place(Source("-", "csv", "b"), options, Outputs(options.out), Problems())
    return quick_way(read_header("-", numbered_lines(io.BytesIO(text.encode()))), place.checker())


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_ordinary_rows_are_plain(end: str) -> None:
    plain = plain_function("id,video,face,consent,tags,x_n\n")
    row = plain(7, f"clip-1,{V},{F},Müller release 7,de;hero,7{end}")
    assert row is not None
    assert (row.key, row.output, row.line, row.consent, row.tags) == (
        "clip-1",
        "b/clip-1.mp4",
        7,
        "Müller release 7",
        ("de", "hero"),
    )
    assert plain(8, f",{V},{F},,,{end}") is not None


@pytest.mark.parametrize(
    "line",
    [
        "#c,{V},{F},",
        '"c",{V},{F},',
        "c,{V},{F}",
        "c,{V},{F},,",
        "c,{V},clips/a.png,",
        "nul,{V},{F},",
        "c ,{V},{F},",
        "c,,{F},",
    ],
)
def test_others_are_left_to_the_long_way(line: str) -> None:
    assert plain_function("id,video,face,tags\n")(2, line.format(V=V, F=F) + "\n") is None


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
    assert max(len(chunk.rows) for chunk in chunks) <= 501


PIECES = (
    r"video,face\n|id,|,|\n|\r|\t|\"|#|\x00|\xff|\xef\xbb\xbf|- |  |tasks:\n|matrix:|name: |defaults:|{|}|[|]|: |"
    r"&a |*a|<<|!!python/x |---\n|video: |face: |faces|tags|repeat|null|true|1e400|{\"video\":\"|\":|\\ud800"
)
PIECE = st.sampled_from(
    [V.encode(), F.encode(), *(p.encode().decode("unicode_escape").encode("latin-1") for p in PIECES.split("|"))]
)


@pytest.mark.parametrize("format", ["csv", "yaml", "jsonl", None])
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
