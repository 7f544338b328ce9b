"""Names of results: inside --out, different for each row, and safe on every file system."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.errors import UsageError
from batchswap.manifest import Options, Source, read
from batchswap.manifest.outputs import safe_part
from tests.pure.manifest_texts import NO_FILES, F, V, error_of, errors_of, rows_of


def outputs_of(text: str, template: str = "{batch}/{key}{ext}") -> list[str]:
    return [row.output for row in rows_of(text, options=Options(name_template=template, check_files=False))]


@pytest.mark.parametrize("text", ["a", "A-1_b.c", "größe", "漢字", "a.b.mp4", "console", "com10", "k" * 120])
def test_safe_texts_do_not_change(text: str) -> None:
    assert safe_part(text) == text


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a/b", "a_b-"),
        ("../x", "_x-"),
        (".hidden", "hidden-"),
        ("-rf", "rf-"),
        ("a b", "a_b-"),
        ("a.", "a-"),
        ("", "_-"),
        ("..", "_-"),
        ("CON", "_CON-"),
        ("nul.mp4", "_nul.mp4-"),
        ("a\x00\n:*?", "a_____-"),
        ("😀", "_-"),
        ("k" * 121, "k" * 111 + "-"),
        ("漢" * 100, "漢" * 37 + "-"),
    ],
)
def test_others_are_changed_and_get_a_hash(text: str, start: str) -> None:
    found = safe_part(text)
    assert found.startswith(start)
    assert len(found) == len(start) + 8


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_safe_parts_are_safe_and_differ(one: str, other: str) -> None:
    found = safe_part(one)
    assert found
    assert len(found.encode()) <= 120
    assert found[0] not in ".-"
    assert not found.endswith(".")
    assert not set(found) & set('/\\:*?"<>| \n\0')
    assert safe_part(found) == found
    assert (found == safe_part(other)) == (one == other)


@pytest.mark.parametrize(
    ("column", "target", "ending"),
    [
        ("video", "https://h/a.mov", ".mp4"),
        ("image", "https://h/a.JPG?x=.png", ".jpg"),
        ("image", "https://h/a.jpeg#x", ".jpeg"),
        ("image", "https://h/a.webp", ".webp"),
        ("image", "https://h/a.gif", ".png"),
        ("image", "https://h/a", ".png"),
        ("image", "still.png", ".png"),
    ],
)
def test_endings(column: str, target: str, ending: str) -> None:
    assert outputs_of(f"id,{column},face\nk,{target},{F}\n") == [f"stdin/k{ending}"]


def test_templates() -> None:
    text = f"id,video,face\nk,https://h/p/clip.one.mov?x=a/b.c,{F}\n"
    assert outputs_of(text, "{stem}-{line}{ext}") == ["clip.one-2.mp4"]
    assert outputs_of(text, "./x/{batch}//{key}{ext}") == ["x/stdin/k.mp4"]
    assert outputs_of(text, "all-{key}{ext}") == ["all-k.mp4"]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{batch}/{kye}{ext}", '--name-template: {kye} is not a field; did you mean {key}? "{batch}/{kye}{ext}"'),
        ("{key.__class__}", "--name-template: {key.__class__} is not a field"),
        ("{}", "--name-template: {} is not a field"),
        ("{key", "--name-template: unbalanced brace"),
        ("{{key}}", "--name-template: unbalanced brace"),
        ("out.mp4", "--name-template: without a field, all results would have the same name"),
        ("../{key}", "--name-template: leaves --out"),
        ("/x/{key}", "--name-template: is an absolute path"),
        ("{key}/", "--name-template: names a folder, not a file"),
        ("{key}\n", "--name-template: has a control or invisible character"),
        ("{key}.part", '--name-template: ends with ".part"'),
    ],
)
def test_templates_that_are_wrong(template: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read([Source("-")], Options(name_template=template))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("given_output", "found"), [("a.mp4", "a.mp4"), ("./x//y.mov", "x/y.mov"), ("ü/ä b.mp4", "ü/ä b.mp4")]
)
def test_given_outputs(given_output: str, found: str) -> None:
    assert outputs_of(f"video,face,output\n{V},{F},{given_output}\n") == [found]


OUTPUTS = [
    ("../x.mp4", 'leaves --out: "../x.mp4"'),
    ("a/../../x.mp4", 'leaves --out: "a/../../x.mp4"'),
    ("a/../x.mp4", 'leaves --out: "a/../x.mp4"'),
    ("/tmp/x.mp4", 'is an absolute path; an output is relative to --out: "/tmp/x.mp4"'),
    ("//x", "is an absolute path"),
    ("a\\b.mp4", 'has a "\\"; separate folders with "/"'),
    ("x/", "names a folder, not a file"),
    (".", "names a folder, not a file"),
    ("x/.", "names a folder, not a file"),
    ("x.part", 'ends with ".part", which marks an unfinished download'),
    ("x\x7f", "has a control or invisible character (U+007F)"),
    ("x" * 241, "has a part of more than 240 bytes"),
    ("ü" * 121, "has a part of more than 240 bytes"),
    ("x/" * 600 + "y", "has 1,201 characters; at most 1,024 are allowed"),
]


@pytest.mark.parametrize(("output", "sentence"), OUTPUTS)
def test_outputs_that_are_wrong(output: str, sentence: str) -> None:
    assert error_of(f"video,face,output\n{V},{F},{output}\n").startswith(f"-:2: output: {sentence}")


def test_outputs_do_not_leave_through_symbolic_links(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "in").mkdir(parents=True)
    (out / "same").symlink_to("in")
    (out / "away").symlink_to(tmp_path)
    (out / "stdin").symlink_to("/")
    options = Options(out=str(out), check_files=False)
    text = f"id,video,face,output\na,{V},{F},same/x.mp4\nb,{V},{F},away/x.mp4\nc,{V},{F},in/../x\nd,{V},{F},\n"
    assert errors_of(text, options=options) == [
        '-:3: output: leaves --out through a symbolic link: "away/x.mp4"',
        '-:4: output: leaves --out: "in/../x"',
        '-:5: output: leaves --out through a symbolic link: "stdin/d.mp4"',
    ]
    linked = tmp_path / "linked"
    linked.symlink_to(out)
    assert (
        len(rows_of(f"video,face,output\n{V},{F},in/x.mp4\n", options=Options(out=str(linked), check_files=False))) == 1
    )


def test_an_out_folder_need_not_exist(tmp_path: Path) -> None:
    options = Options(out=str(tmp_path / "no" / "such"), check_files=False)
    assert len(rows_of(f"video,face\n{V},{F}\n", options=options)) == 1
    assert not (tmp_path / "no").exists()


def test_a_batch_name_becomes_a_safe_folder() -> None:
    (row,) = rows_of(f'name: "../a b"\ntasks: [{{id: k, video: {V}, face: {F}}}]', "yaml", NO_FILES)
    assert row.output.startswith("_a_b-")
    assert row.output.endswith("/k.mp4")
