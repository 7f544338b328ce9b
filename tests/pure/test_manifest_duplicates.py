"""Two rows with the same key or output: errors name both places, across all manifests of a command."""

import io
from pathlib import Path

import pytest

from batchswap.errors import ManifestErrors
from batchswap.manifest import Options, Source, read
from batchswap.manifest.seen_texts import SeenTexts, all_folded, folded
from tests.pure.manifest_texts import NO_FILES, F, V, error_of, errors_of, file_errors


def test_a_key_twice() -> None:
    assert error_of(f"id,video,face\na,{V},{F}\nb,{V},{F}\na,{F},{V}\n") == '-:4: id: "a" is also the key of -:2'


def test_each_later_row_is_named() -> None:
    found = errors_of("id,video,face\n" + f"a,{V},{F}\n" * 3)
    assert found == ['-:3: id: "a" is also the key of -:2', '-:4: id: "a" is also the key of -:2']


def test_the_same_inputs_without_ids() -> None:
    assert error_of(f"video,face,consent\n{V},{F},r\n{V},{F},q\n") == (
        "-:3: id: is missing, and -:2 has the same inputs; if intended, give ids or use repeat in one row"
    )


def test_a_repeated_row_conflicts_with_another_id() -> None:
    assert error_of(f"id,video,face,repeat\na,{V},{F},2\na-2,{V},{F},\n") == '-:3: id: "a-2" is also the key of -:2'


def test_an_output_twice() -> None:
    text = f"id,video,face,output\na,{V},{F},x/o.mp4\nb,{V},{F},./x//o.mp4\n"
    assert error_of(text).startswith('-:3: output: "x/o.mp4" is also the output of -:2')


@pytest.mark.parametrize(("one", "other"), [("A", "a"), ("Ä", "ä"), ("straße", "STRASSE"), ("é", "e\u0301")])
def test_outputs_that_differ_in_case_or_composition_only(one: str, other: str) -> None:
    found = error_of(f"id,video,face,output\na,{V},{F},{one}.mp4\nb,{V},{F},{other}.mp4\n")
    assert found.startswith("-:3: output: ")
    assert found.endswith("is also the output of -:2 (upper and lower case count as equal)")


@pytest.mark.parametrize(("one", "other"), [("x", "x/y.mp4"), ("x/y/z.mp4", "x"), ("a/b/c", "A/B")])
def test_a_file_and_a_folder_of_one_name(one: str, other: str) -> None:
    found = error_of(f"id,video,face,output\na,{V},{F},{one}\nb,{V},{F},{other}\n")
    assert found == f'-:3: output: "{other}": a file and a folder would have the same name; see -:2'


def test_a_template_that_gives_rows_the_same_output() -> None:
    found = errors_of(
        f"id,video,face\na,{V},{F}\nb,{V},{F}\n", options=Options(name_template="{stem}{ext}", check_files=False)
    )
    assert [error.split('"')[0] for error in found] == ["-:3: output: "]


def test_across_files_of_one_batch(tmp_path: Path) -> None:
    one, other = tmp_path / "1" / "n.csv", tmp_path / "2" / "n.yaml"
    for path in (one, other):
        path.parent.mkdir()
    one.write_text(f"id,video,face\na,{V},{F}\n")
    other.write_text(f"tasks:\n- {{id: a, video: {V}, face: {F}}}\n- {{id: b, video: {V}, face: {F}}}\n")
    assert file_errors(one, other) == [f'{other}:2: id: "a" is also the key of {one}:2']
    other.write_text(f"name: m\ntasks:\n- {{id: a, video: {V}, face: {F}}}\n")
    assert file_errors(one, other) == []
    other.write_text(f"name: m\ntasks:\n- {{id: a, video: {V}, face: {F}, output: n/a.mp4}}\n")
    assert file_errors(one, other)[0].startswith(f'{other}:3: output: "n/a.mp4" is also the output of {one}:2')


def test_no_rows_come_after_the_first_problem_and_rows_before_it_do() -> None:
    rows = "".join(f"k{n},{V},{F}\n" for n in range(2000))
    seen = []
    data = io.BytesIO(f"id,video,face\n{rows}x,,{F}\n{rows}".encode())
    with pytest.raises(ManifestErrors) as caught:
        for chunk in read([Source("-", "csv")], NO_FILES, data):
            seen += [row.key for row in chunk.rows]
    assert seen == [f"k{n}" for n in range(2000)]
    assert caught.value.problems[0].line == 2002
    assert len(caught.value.problems) == 1001
    assert str(caught.value.problems[-1]) == "-: and 1,001 more problems that are not listed"


def test_a_whole_file_twice_is_counted_in_bounded_memory() -> None:
    rows = "".join(f"k{n},{V},{F}\n" for n in range(12_000))
    found = errors_of(f"id,video,face\n{rows}{rows}")
    assert len(found) == 1001
    assert "more problems" in found[-1]


def test_a_reading_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"id,video,face\na,{V},{F}\n")
    reading = read([Source(str(path))])
    assert list(reading) == list(reading)
    assert reading.counts == {"m": 1}


def test_equal_hashes_of_different_texts_are_no_duplicates() -> None:
    """The texts of suspects are compared."""
    seen = SeenTexts()
    seen.add(["a", "b", "a"])
    assert seen.suspects() == {hash("a")}
    assert folded("Ab/C") == "ab/c"


def test_many_outputs_are_folded_like_each() -> None:
    for names in (["A/b", "c"], ["Ä", "B"]):
        assert all_folded(names) == [folded(name) for name in names]
