"""The register of releases: what is read, what is refused, and that no message names a person."""

import os
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from batchswap.manifest import Options, Source, consents, read
from batchswap.manifest.consents import Consents, Register, Release
from batchswap.manifest.register import read_register
from batchswap.manifest.rows import Problems
from tests.pure.manifest_texts import F, V, errors_of, file_errors, rows_of

DAY = date(2026, 11, 27)
HEAD = "reference,person,valid_from,valid_until,scope,evidence"
PERSON = "Anna Muster"


def found_in(path: Path, text: str | bytes) -> tuple[Register, list[str]]:
    """Return the register of a text, and its problems without the path."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = Problems()
    register = read_register(str(path), problems)
    if not problems.count:
        return register, []
    said = [str(each).removeprefix(f"{path}:") for each in problems.errors().problems]
    assert not [each for each in said if PERSON in each or "scan" in each]
    return register, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "scan.pdf").write_bytes(b"signed")
    return tmp_path / "releases.csv"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"# our releases\n\n"])
def test_what_a_release_holds(path: Path, separator: str, before: bytes) -> None:
    cells = ["r-1", f'"{PERSON}"', "2026-01-01", "2026-12-31", '"web; tv;web"', "scan.pdf"]
    lines = [
        separator.join(HEAD.split(",")),
        "# a comment",
        separator.join(cells),
        "",
        separator.join(["r-2", *[""] * 5]),
    ]
    register, said = found_in(path, before + "\r\n".join(lines).encode())
    line = 3 + before.count(b"\n")
    evidence = str(path.with_name("scan.pdf"))
    assert (said, register.is_whole) == ([], True)
    assert register.releases == {
        "r-1": Release("r-1", line, date(2026, 1, 1), date(2026, 12, 31), ("web", "tv"), evidence),
        "r-2": Release("r-2", line + 2),
    }


def test_only_the_reference_is_needed_and_own_columns_are_ignored(path: Path) -> None:
    register, said = found_in(path, "x_note,reference,meta.no\nhi,r-1,7\n,,\n")
    assert (said, register.releases) == ([], {"r-1": Release("r-1", 2)})


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("reference,valid_form", '1: valid_form: is not a column of a register; did you mean "valid_from"?'),
        ("reference,person,reference", "1: reference: occurs twice: columns 1 and 3"),
        ("reference,", "1: column 2: has no name in the header"),
        ("person,scope", "1: reference: is missing in the header: every release needs one"),
        (f"r-1,{PERSON}", "1: has no header: the first line must name the columns, reference,person,"),
    ],
)
def test_a_wrong_header_ends_the_reading(path: Path, head: str, words: str) -> None:
    path.write_text(f"{head}\nr-1,x,y\n")
    problems = Problems()
    register = read_register(str(path), problems)
    [problem] = problems.errors().problems
    assert str(problem).startswith(f"{path}:{words}")
    assert (register.releases, register.is_whole) == ({}, False)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"r-1,{PERSON},2026-13-01,,,", "2: valid_from: must be a day such as 2026-12-31"),
        (f"r-1,{PERSON},,31.12.2026,,", "2: valid_until: must be a day such as 2026-12-31"),
        (f"r-1,{PERSON},20260101,,,", "2: valid_from: must be a day such as 2026-12-31"),
        (f"r-1,{PERSON},2026-02-01,2026-01-31,,", "2: valid_until: is before valid_from"),
        (f"r-1,{PERSON},,,a\x07,", '2: scope: must be printable tags, separated by ";"'),
        (f"r-1,{PERSON},,,,https://x.example/scan.pdf", "2: evidence: is a URL: keep the file next to the register"),
        (f"r-1,{PERSON},,,,scan2.pdf", "2: evidence: does not exist; looked in "),
        (f"r-1,{PERSON},,,,.", "2: evidence: is not a regular file"),
        (f"r-1,{PERSON},,,,scan.pdf/x", "2: evidence: cannot be read (Not a directory)"),
        (f"r-1,{PERSON},,,,{'s' * 300}", "2: evidence: cannot be read (File name too long)"),
        (f"r-1,{PERSON},,,,empty.pdf", "2: evidence: is an empty file"),
    ],
)
def test_a_release_with_a_problem_allows_no_guess(path: Path, row: str, words: str) -> None:
    path.with_name("empty.pdf").touch()
    register, said = found_in(path, f"{HEAD}\n{row}\n")
    [problem] = said
    assert problem.startswith(words)
    assert (register.releases, register.is_whole) == ({"r-1": None}, True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f",{PERSON},,,,", "2: reference: is missing: every release needs one"),
        ("r\x07,,,,,", "2: reference: has a control or invisible character"),
        (f"r-1,{PERSON}", "2: has 2 fields; the header has 6"),
        (f'"r-1"x,{PERSON},,,,', "2: has text after a closing quote"),
        (f'"r-1,{PERSON},,,,', "2: a quoted field that begins in this row is never closed"),
    ],
)
def test_a_row_without_a_reference_hides_one(path: Path, row: str, words: str) -> None:
    register, [problem] = found_in(path, f"{HEAD}\n{row}\n")
    assert problem.startswith(words)
    assert not register.is_whole


def test_evidence_that_only_others_may_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    _, said = found_in(path, f"{HEAD}\nr-1,,,,,scan.pdf\n")
    assert said == ["2: evidence: cannot be read (Permission denied)"]


def test_a_reference_that_occurs_twice_names_both_lines(path: Path) -> None:
    register, said = found_in(path, f"{HEAD}\nr-1,,,,,\nr-1,,,,,\n")
    assert said == ['3: reference: "r-1" is also in line 2']
    assert register.releases == {"r-1": None}


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", ": is empty"), (b"\xff\xfe", ":1: is UTF-16, not UTF-8"), (HEAD.encode() + b"\n\xe9,", ":2: is not UTF-8")],
)
def test_a_file_that_is_no_text(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    problems = Problems()
    assert not read_register(str(path), problems).is_whole
    assert f"{path}{words}" in str(problems.errors())


def test_all_problems_of_register_and_manifest_come_at_once(path: Path) -> None:
    path.write_text(f"{HEAD}\nr-1,,2026-99-99,,,\nr-2,,,2026-01-01,,\n")
    rows = [f"{V},,r-2", f"{V},{F},r-3", f"{V},{F},r-1", f"{V},{F},"]
    manifest = path.with_name("m.csv")
    manifest.write_text("\n".join(["video,face,consent", *rows]))
    options = Options(check_files=False, consent_register=str(path))
    assert file_errors(manifest, options=options) == [
        f"{path}:2: valid_from: must be a day such as 2026-12-31",
        f"{manifest}:2: face: is missing: a row needs a face (or several)",
        f'{manifest}:2: consent: "r-2" expired on 2026-01-01 ({path}:3)',
        f'{manifest}:3: consent: "r-3" is not in {path}',
        f"{manifest}:5: consent: is missing, but --consent-register requires it in every row",
    ]


def test_every_format_is_compared_with_the_register(path: Path) -> None:
    path.write_text(f"{HEAD}\nr-1,,,,,\n")
    options = Options(check_files=False, consent_register=str(path))
    yaml = f"defaults: {{consent: r-2}}\ntasks:\n  - {{video: '{V}', face: '{F}'}}\n"
    assert errors_of(yaml, "yaml", options) == [f'-:3: consent: "r-2" is not in {path}']
    json = f'{{"video": "{V}", "face": "{F}", "consent": "r-2"}}\n'
    assert errors_of(json, "jsonl", options) == [f'-:1: consent: "r-2" is not in {path}']
    header = errors_of(f"video,face\n{V},{F}\n", "csv", options)
    assert header == ["-:1: consent: is missing in the header, but --consent-register requires it in every row"]


def test_a_broken_register_refuses_no_row_by_guess(path: Path) -> None:
    path.write_text("reference,valid_form\nr-1,\n")
    options = Options(check_files=False, consent_register=str(path))
    [problem] = errors_of(f"video,face,consent\n{V},{F},r-9\n", options=options)
    assert "valid_form" in problem


def test_the_releases_that_rows_name_are_returned(path: Path, tmp_path: Path) -> None:
    path.write_text(f"{HEAD}\nr-1,,,,,scan.pdf\nr-2,,,,,\nr-3,,,,,\n")
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"id,video,face,consent\na,{V},{F},r-1\nb,{V},{F},r-3\n")
    reading = read([Source(str(manifest))], Options(check_files=False, consent_register=str(path)))
    assert sum(len(chunk.rows) for chunk in reading) == 2
    assert set(reading.releases) == {"r-1", "r-3"}


def test_a_withdrawn_release_needs_no_register() -> None:
    options = Options(check_files=False, withdrawn={"r-1": "2026-11-20"})
    text = f"id,video,face,consent\na,{V},{F},r-1\nb,{V},{F},r-2\nc,{V},{F},\n"
    assert errors_of(text, options=options) == [
        '-:2: consent: "r-1" was withdrawn on 2026-11-20: name another release, or remove the row'
    ]
    assert len(rows_of(text.replace("r-1", "r-2"), options=options)) == 3


@pytest.mark.parametrize(
    ("release", "tags", "words"),
    [
        (Release("r", 2), (), ""),
        (Release("r", 2, DAY, DAY), (), ""),
        (Release("r", 2, None, date(2026, 11, 26)), (), "expired on 2026-11-26"),
        (Release("r", 2, date(2026, 11, 28)), (), "is not valid before 2026-11-28"),
        (Release("r", 2, scope=("web", "tv")), ("tv", "de"), ""),
        (Release("r", 2, scope=("web", "tv")), (), "is for web, tv, and the row has no tags"),
        (Release("r", 2, scope=("web",)), ("tv", "Web"), 'is for web, and the row has only "tv;Web"'),
    ],
)
def test_what_a_release_allows(release: Release, tags: tuple[str, ...], words: str) -> None:
    assert release.problem(tags, DAY) == words


@pytest.fixture
def _far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_east")
@pytest.mark.parametrize("zone", ["XXX-14", "XXX+12"])
def test_the_day_is_that_of_the_local_calendar(path: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    today = time.strftime("%Y-%m-%d")
    path.write_text(f"{HEAD}\nr-1,,{today},{today},,\n")
    text = f"video,face,consent\n{V},{F},r-1\n"
    assert len(rows_of(text, options=Options(check_files=False, consent_register=str(path)))) == 1


def test_a_million_kinds_of_rows_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "REMEMBERED", 2)
    rules = Consents(DAY, "", Register("r.csv", {"r": Release("r", 2)}))
    assert rules.refused(["r", "r", "r", "s", "r"], ["a", "b", "c", "a", "a"]) == {3}
    assert len(rules._known) <= 2
