"""Errors in YAML manifests, with their lines, and limits that protect the memory."""

import io
import tracemalloc

import pytest

from batchswap.manifest import Options, Source, check
from tests.pure.manifest_texts import F, V, error_of, errors_of

TASK = f"{{id: a, video: {V}, face: {F}}}"

TASKS = [
    ("video: 7, face: f", "-:2: video: is a number"),
    ("video: 1.5, face: f", "-:2: video: is a number"),
    ("video: v, face: true", "-:2: face: is true or false"),
    ("video: v, face: 2026-01-02", "-:2: face: is a date"),
    ("video: v, faces: {0: no}", "-:2: faces: is true or false"),
    ("video: v, faces: {x: f}", '-:2: faces: has the face id "x"; ids are numbers from 0 to 999'),
    ("video: v, faces: [f]", "-:2: faces: is a list, not a mapping from detected face id to new face"),
    ("video: v, faces: {0: f}, face_0: g", '-:2: face_0: means the same as "faces"'),
    ("video: [v], face: f", "-:2: video: is a list, not a single text"),
    ("video: v, face: {a: f}", "-:2: face: is a mapping, not a single text"),
    ("video: v, target: w, face: f", '-:2: target: means the same as "video"'),
    ("video: v, face: f, tags: {a: b}", "-:2: tags: is a mapping, not a list of tags"),
    ("video: v, face: f, tags: [[a]]", "-:2: tags: is a list, not a single text"),
    ('video: v, face: f, tags: ["a;b"]', '-:2: tags: "a;b" has a ";"'),
    ("video: v, face: f, outptu: o", '-:2: outptu: is not a known field; did you mean "output"?'),
    ("video: v, face: f, repeat: 0", "-:2: repeat: must be a number of repetitions"),
    ("video: v, face: f, id: [a]", "-:2: id: is a list, not a single text"),
    ("video: v, face: f, video: w", '-:2: has the key "video" twice'),
    ("video: v, face: f, [a]: b", "-:2: has a key that is not a text"),
    ("video: v, face: f, id: *x", '-:2: the alias "*x" has no anchor before it'),
    ("video: v, face: f, id: !!python/name:os.system x", '-:2: the tag "tag:yaml.org,2002:python/name:os.system"'),
    ("video: v, face: f, id: !!binary aGk=", '-:2: the tag "tag:yaml.org,2002:binary" is not accepted'),
    ("video: v, face: f, <<: a", '-:2: "<<" takes a mapping'),
    ("video: v, face: f, x_a: " + "[" * 30 + "]" * 30, "-:2: is nested too deep"),
    (f"video: v, face: f, tags: [{', '.join(map(str, range(51)))}]", "-:2: tags: has 51 tags; at most 50 are allowed"),
    ('video: v, face: f, x_a: "a\\x07"', "-:2: x_a: has a control character (U+0007)"),
    (f"video: v, face: f, x_a: {'n' * 10_001}", "-:2: x_a: has 10,001 characters; at most 10,000 are allowed"),
    ("face: f", "-:2: video: is missing: a row needs a video (or an image)"),
]


@pytest.mark.parametrize(("task", "sentence"), TASKS)
def test_tasks_that_are_wrong(task: str, sentence: str) -> None:
    found = errors_of(f"tasks:\n- {{{task}}}\n- {{video: ftp://x, face: f}}\n", "yaml")
    assert found[0].startswith(sentence)
    assert found[-1].startswith("-:3: video: "), "the tasks behind it are read on"
    assert len(found) == 2


DOCUMENTS = [
    ("", "-: is empty"),
    ("# nothing\n", "-: is empty"),
    ("just words\n", "-:1: is not a manifest: a mapping with tasks is needed"),
    ("name: n\n", "-: has neither tasks nor a matrix"),
    (f"taks: [{TASK}]\n", '-:1: taks: is not known here; did you mean "tasks"?'),
    (f"tasks: [{TASK}]\nname: m\nname: n\n", "-:3: name: occurs twice; it is also in line 2"),
    ("tasks: {a: b}\n", "-:1: tasks: is a mapping, not a list of tasks"),
    ("tasks: word\n", '-:1: tasks: is text ("word"), not a list of tasks'),
    ("tasks:\n- word\n", '-:2: is text ("word"); a task is a mapping'),
    ("tasks:\n-\n", "-:2: is nothing; a task is a mapping"),
    (f"name: [a]\ntasks: [{TASK}]\n", "-:1: name: is a list, not the name of the batch"),
    (f'name: "a\\x07"\ntasks: [{TASK}]\n', "-: name: of the batch has a control or invisible character (U+0007)"),
    (f"defaults: [a]\ntasks: [{TASK}]\n", "-:1: defaults: is a list; a task is a mapping"),
    (f"defaults: {{fcae: x}}\ntasks: [{TASK}]\n", '-:1: defaults.fcae: is not a known field; did you mean "face"?'),
    (f"defaults: {{id: x}}\ntasks: [{TASK}]\n", "-:1: defaults.id: cannot be a default"),
    (f"defaults: {{face: a, face: b}}\ntasks: [{TASK}]\n", '-:1: defaults: has the key "face" twice'),
    (f"tasks: [{TASK}]\n---\ntasks: []\n", "-:2: has several documents; only one is allowed"),
    (f"tasks:\n- {TASK}\n\t- a\n", "-:3: is not YAML: found character that cannot start any token"),
    (f"tasks:\n- {TASK}\n- {{a: b\n", "-:4: is not YAML: did not find expected"),
    ("tasks:\n- {id: \x07}\n", "-:2: has a control character"),
    ("tasks:\n- {id: a, x_a: " + "&a [" * 40 + "]" * 40 + "}\n", "-:2: is nested too deep"),
    ("matrix: word\n", '-:1: matrix: is text ("word"), not a mapping with video and face'),
    ("matrix: {consent: r}\n", "-:1: matrix: has neither video, image nor face"),
    (f"matrix:\n  video: []\n  face: [{F}]\n", "-:2: matrix.video: is an empty list"),
    (f"matrix:\n  video: [7]\n  face: [{F}]\n", "-:2: matrix.video: is a number"),
    (f"matrix:\n  video: ['']\n  face: [{F}]\n", "-:2: matrix.video: has an empty entry"),
    (f"matrix:\n  video: {{a: b}}\n  face: [{F}]\n", "-:2: matrix.video: is a mapping, not a list"),
    (f"matrix:\n  video: [{V}]\n  target: [{V}]\n", "-:3: matrix.target: means the same as video"),
    (f"matrix:\n  video: [{V}]\n  image: [{V}]\n  face: {F}", "-:2: matrix: cannot have both video and image"),
    (f"matrix:\n  video: [{V}]\n  face: [{F}]\n  id: a\n", "-:4: matrix.id: cannot be given for a whole matrix"),
    (f"matrix:\n  video: [{V}]\n  faces: {{0: {F}}}\n", "-:3: matrix.faces: cannot be given for a whole matrix"),
    (f"matrix:\n  video: [{V}]\n  fcae: [{F}]\n", '-:3: matrix.fcae: is not a known field; did you mean "face"?'),
    (f"matrix:\n  video: [{V}]\n", "-:2: face: is missing"),
]


@pytest.mark.parametrize(("text", "sentence"), DOCUMENTS)
def test_documents_that_are_wrong(text: str, sentence: str) -> None:
    assert errors_of(text, "yaml")[0].startswith(sentence)


def test_bytes_that_are_not_utf8_are_placed() -> None:
    assert error_of(b"tasks:\n- {id: M\xfcller}\n", "yaml") == (
        "-:2: is not UTF-8: byte 0xfc at offset 15; save it as UTF-8"
    )


def test_a_matrix_that_is_too_large() -> None:
    listed = ", ".join(f"v{n}" for n in range(4000))
    assert error_of(f"matrix: {{video: [{listed}], face: [{listed}]}}", "yaml") == (
        "-:1: matrix: makes 16,000,000 rows; at most 10,000,000 are allowed"
    )


def test_nested_aliases_use_no_memory() -> None:
    """Nine levels of nine would be 387 million values."""
    levels = "".join(f"x_{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    text = f"x_0: &a0 [lol]\n{levels}tasks: [{{video: {V}, face: {F}, tags: *a9}}]\n"
    tracemalloc.start()
    try:
        assert error_of(text, "yaml") == "-:11: tags: is a list, not a single text"
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_tasks_are_not_kept_while_they_are_read() -> None:
    text = "tasks:\n" + "".join(f"- {{id: a{n}, video: {V}, face: {F}}}\n" for n in range(6000))
    data = io.BytesIO(text.encode())
    tracemalloc.start()
    try:
        assert check([Source("-", "yaml")], Options(check_files=False), data) == {"stdin": 6000}
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x_a:\n" + "".join(f"- &a{n} b\n" for n in range(10_001)), "-:10002: has more than 10,000 anchors"),
        (
            "".join(f"x_{m}: &a{m}\n" + "".join(f"  k{m}{n}: b\n" for n in range(600)) for m in range(2))
            + "x_c: &c {<<: [*a0, *a1]}\n",
            "-:1203: has a mapping with more than 1,000 keys",
        ),
        ("x_a: &a\n" + "".join(f"  k{n}: b\n" for n in range(1001)), "-:1002: has a mapping with more than 1,000 keys"),
        ("".join(f"x_{n}: b\n" for n in range(1001)), "-:1001: has a mapping with more than 1,000 keys"),
        (
            f"x_a: 'b'\nx_c: '{'d' * 5_000_000}'\n",
            "-:2: has a value of more than 4,194,304 bytes; perhaps a quote is never closed",
        ),
        (f"# {'d' * 5_000_000}\n", "-:1: has a value of more than 4,194,304 bytes; perhaps a quote is never closed"),
        ("tasks:\n- {tags: [" + "a," * 10_001 + "]}\nx_", "-:2: has more than 10,000 values in one place"),
        (
            "".join(f"x_{n}: &a{n} '{'b' * 4_000_000}'\n" for n in range(26)),
            "-:25: has more than 1,000,000 values with anchors",
        ),
    ],
)
def test_bounds(text: str, sentence: str) -> None:
    assert errors_of(text + "tasks: []\n", "yaml") == [sentence]


def test_only_the_first_of_many_unknown_keys_are_named() -> None:
    found = errors_of(f"tasks: [{{{', '.join(f'key{n}: 1' for n in range(900))}}}]", "yaml")
    assert len(found) == 21
    assert found[-1] == "-:1: has more keys with problems"


def test_tasks_before_a_syntax_error_are_checked() -> None:
    text = f"name: n\ndefaults: {{face: {F}}}\ntasks:\n- {{video: ftp://x}}\n- {{video: {V}\n"
    assert [error.split(": ")[0] for error in errors_of(text, "yaml")] == ["-:4", "-:6"]
