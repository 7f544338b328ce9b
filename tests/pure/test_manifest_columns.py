"""Columns make the same rows as the checker. Any bytes give either rows or ManifestErrors."""

import io
import tracemalloc
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchswap.errors import ManifestProblem, UsageError
from batchswap.manifest import ManifestFormat, Options, Source, check, read
from batchswap.manifest.consents import Consents, Register, Release
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.readers.columns import InputColumn
from batchswap.manifest.readers.formats import Manifest, read_csv
from batchswap.manifest.readers.matrix import Folder
from batchswap.manifest.rows import Checker, Problems
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
    "consent": st.one_of(st.sampled_from(["", "r-1", "r-2", "r-3", "gone"]), HOSTILE),
    "tags": st.one_of(st.sampled_from(["", "a;b", "a; a", ";;", "t" * 101, ";".join("abcdefghij" * 6)]), HOSTILE),
}

DAY = date(2026, 11, 27)
REGISTER = Register("r.csv", {"r-1": Release("r-1", 2), "r-2": Release("r-2", 3, scope=("a",)), "r-3": None})


def quoted(cell: str, separator: str, *, always: bool) -> str:
    if always or any(c in cell for c in (separator, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@st.composite
def tables(draw: st.DrawFn) -> str:
    """Draw CSV tables of mostly valid rows in several spellings."""
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


def none_known(column: InputColumn, cells: list[str]) -> tuple[list[str], list[int]]:
    return cells, list(range(len(cells)))


def one_way(text: str, options: Options, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[list[Row], list[str]]:
    """With a monkeypatch no column knows a cell, so that every row is left to the checker."""
    problems = Problems()
    place = Manifest(
        Source("-", "csv", "b"),
        options,
        Outputs(options.out, options.name_template),
        problems,
        Folder("."),
        Consents(DAY, options.consent_rule, REGISTER if options.consent_register else None, options.withdrawn),
    )
    rows: list[Row] = []
    with monkeypatch.context() if monkeypatch else nullcontext() as patch:
        if patch:
            patch.setattr(InputColumn, "read", none_known)
        try:
            for _, some in read_csv(place, io.BytesIO(text.encode())):
                rows += some
        except ManifestProblem as error:
            return rows, [str(error)]
    return rows, [str(problem) for problem in problems.errors().problems] if problems.count else []


@settings(max_examples=400, deadline=None)
@given(
    tables(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["{batch}/{key}{ext}", "{key}{ext}", "x/{line}-{stem}{ext}"]),
)
@example(f"video,face,consent\n{V},{F},\n", True, False, "{batch}/{key}{ext}")
@example(f"video,face,consent,tags\n{V},{F},r-1,\n{V},{F},r-2,b\n", False, True, "{key}{ext}")
@example(f"video,face,x_a\n{V},{F},\xa0b\n", False, False, "{batch}/{key}{ext}")
@example(f"id,video,face\ncon.b,{V},{F}\n", False, False, "{batch}/{key}{ext}")
@example(f"consent,video,face\n# a,{V},{F}\n", False, False, "{batch}/{key}{ext}")
def test_both_ways_give_the_same(text: str, require_consent: bool, register: bool, template: str) -> None:
    options = Options(
        template,
        require_consent,
        check_files=False,
        consent_register="r.csv" if register else "",
        withdrawn={"gone": "2026-11-01"},
    )
    assert one_way(text, options) == one_way(text, options, pytest.MonkeyPatch())


KNOWN = [
    ("id,video,face,consent,tags,x_n", f"clip-1,{V},{F},Müller release 7,de;hero,7"),
    ("id,video,face", f"#1 intro,{V},{F}"),
    ("id,video,face", f'"quoted","{V}", {F} '),
    ("id,video,face", f"漢字,clips/a.mp4,{F}"),
    ("video,face,output,repeat", f"{V},{F},de/a (1).mp4,1"),
    ("id,video,face,repeat", f"a,{V},{F},3"),
    ("video,face_3,face_1", f"{V},{F},"),
    ("video,image,face,face_0", f",{V},,{F}"),
    ("image,face,x_note", f'{V},{F},"two\nlines"'),
]


@pytest.mark.parametrize(("header", "line"), KNOWN)
@pytest.mark.parametrize("template", ["{batch}/{key}{ext}", "x/{line}-{stem}{ext}"])
def test_ordinary_rows_are_made_by_columns(
    header: str, line: str, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is left to the checker takes five times as long."""
    options = Options(name_template=template, check_files=False)
    text = f"{header}\n{line}\n"
    expected = one_way(text, options, monkeypatch)
    monkeypatch.setattr(Checker, "rows", None)
    assert one_way(text, options) == expected
    assert len(expected[0]) == (3 if line.endswith(",3") else 1)


@pytest.mark.parametrize("way", ["as it is", "checker"])
def test_outputs_behind_a_link_that_leaves_the_folder_are_refused(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").symlink_to(tmp_path)
    options = Options(check_files=False, out=str(tmp_path / "out"))
    patch = monkeypatch if way == "checker" else None
    for text in (f"id,video,face\na,{V},{F}\n", f"id,video,face,output\na,{V},{F},b/a.mp4\n"):
        rows, problems = one_way(text, options, patch)
        assert (rows, problems) == (
            [],
            ['-:2: output: leaves --out through a symbolic link: "b/a.mp4"'],
        )


def test_a_wide_table_is_read_in_small_parts() -> None:
    """Only about 18 of 200 lines of 60,000 characters are in memory at once."""
    wide = ",".join(["video", "face", *(f"x_{n}" for n in range(60))])
    line = ",".join([V + "?{0}", F, *["{0:01000}"] * 60])
    text = "\n".join([wide, *(line.format(n) for n in range(200))])
    tracemalloc.start()
    try:
        assert check([Source("-", "csv")], Options(check_files=False), io.BytesIO(text.encode())) == {"stdin": 200}
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


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
    """Whole blocks are read before and after it, and one row spans two blocks."""
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
def test_no_bytes_give_anything_but_usage_errors(format: ManifestFormat | None, data: bytes) -> None:  # noqa: A002
    try:
        for chunk in read([Source("-", format)], Options(), io.BytesIO(data)):
            assert all(isinstance(row, Row) for row in chunk.rows)
    except UsageError as error:
        assert str(error)
