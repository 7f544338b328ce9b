"""YAML manifests: defaults, tasks, matrix, anchors, and the line of everything that is wrong."""

import io
import tracemalloc
from pathlib import Path

import pytest

from batchswap.manifest import Options, Source, check, read
from batchswap.tasks import Model
from tests.pure.manifest_texts import F, V, error_of, errors_of, file_errors, rows_of

TASK = f"{{id: a, video: {V}, face: {F}}}"


def test_the_example_of_the_contract(tmp_path: Path) -> None:
    for name in ("a.mp4", "anna.jpg", "ben.jpg", "clips/outro.mp4", "clips/b.mp4", "faces/ben.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    manifest = tmp_path / "file.yaml"
    manifest.write_text(
        """\
name: spring                      # the batch
defaults: {face: https://cdn.example.com/anna.jpg, consent: release-114}
tasks:
  - {id: intro, video: https://cdn.example.com/intro.mp4}
  - {video: clips/outro.mp4, face: faces/ben.png, output: "de/outro.mp4", tags: [de, hero]}
  - {video: https://cdn.example.com/duo.mp4, faces: {0: https://e.com/anna.jpg, 1: https://e.com/ben.jpg}}
matrix:                           # every video with every face
  video: [a.mp4, "clips/*.mp4"]
  face: [anna.jpg, ben.jpg]
"""
    )
    chunks = list(read([Source(str(manifest))]))
    assert {(chunk.batch, chunk.folder, chunk.file) for chunk in chunks} == {("spring", str(tmp_path), str(manifest))}
    rows = [row for chunk in chunks for row in chunk.rows]
    assert [(row.target, row.face, row.line) for row in rows] == [
        ("https://cdn.example.com/intro.mp4", "https://cdn.example.com/anna.jpg", 4),
        ("clips/outro.mp4", "faces/ben.png", 5),
        ("https://cdn.example.com/duo.mp4", "", 6),
        ("a.mp4", "anna.jpg", 8),
        ("a.mp4", "ben.jpg", 8),
        ("clips/b.mp4", "anna.jpg", 8),
        ("clips/b.mp4", "ben.jpg", 8),
        ("clips/outro.mp4", "anna.jpg", 8),
        ("clips/outro.mp4", "ben.jpg", 8),
    ]
    assert {row.consent for row in rows} == {"release-114"}
    assert (rows[0].key, rows[0].output, rows[1].output, rows[1].tags) == (
        "intro",
        "spring/intro.mp4",
        "de/outro.mp4",
        ("de", "hero"),
    )
    assert rows[2].faces == ((0, "https://e.com/anna.jpg"), (1, "https://e.com/ben.jpg"))


@pytest.mark.parametrize(
    "text",
    [
        f"name: n\ndefaults: {{consent: r, face: {F}}}\ntasks: [{{id: a, video: {V}}}]",
        f"tasks: [{{id: a, video: {V}}}]\ndefaults: {{consent: r, face: {F}}}\nname: n",
        f"name: n\ntasks:\n- id: a\n  video: {V}\ndefaults:\n  consent: r\n  face: {F}\n",
        f"x_common: &c {{consent: r, face: {F}}}\ntasks: [{{id: a, video: {V}, <<: *c}}]\nname: n",
        f"tasks: [{{id: a, video: {V}, x: &c {{consent: r, face: {F}}}}}]\ndefaults: *c\nname: n".replace("x:", "<<:"),
        f"x_list: &t [{{id: a, video: {V}, face: {F}, consent: r}}]\ntasks: *t\nname: n",
        f'{{"name": "n", "defaults": {{"consent": "r", "face": "{F}"}}, "tasks": [{{"id": "a", "video": "{V}"}}]}}',
    ],
)
def test_order_style_and_anchors_do_not_matter(text: str) -> None:
    (row,) = rows_of(text, "yaml")
    assert (row.key, row.target, row.face, row.consent, row.output) == ("a", V, F, "r", "n/a.mp4")


def test_a_list_alone_is_a_list_of_tasks() -> None:
    assert [row.line for row in rows_of(f"# list\n- {TASK}\n- {{video: {F}, face: {V}}}\n", "yaml")] == [2, 3]


@pytest.mark.parametrize(
    ("defaults", "task", "model", "face"),
    [
        (f"face: {F}", f"video: {V}, faces: {{2: {V}}}", Model.VIDEO_MULTI, ""),
        (f"faces: {{0: {F}}}", f"video: {V}, face: {V}", Model.VIDEO, V),
        (f"video: {V}, face: {F}", f"image: {F}", Model.IMAGE, F),
        (f"image: {V}, face: {F}", "id: a", Model.IMAGE, F),
        (f"face: {F}", f"video: {V}, face: ''", Model.VIDEO, F),
        (f"face: {F}", f"video: {V}, face: ~", Model.VIDEO, F),
    ],
)
def test_a_task_overrides_its_defaults(defaults: str, task: str, model: Model, face: str) -> None:
    (row,) = rows_of(f"defaults: {{{defaults}}}\ntasks: [{{{task}}}]", "yaml")
    assert (row.model, row.face) == (model, face)


def test_texts_are_taken_as_written() -> None:
    (row,) = rows_of(
        f"tasks: [{{id: 007, consent: 2026-01-02, tags: [no, 1e3, de], x_n: 0x1F, video: {V}, face: {F}}}]", "yaml"
    )
    assert (row.key, row.consent, row.tags, row.extra) == ("007", "2026-01-02", ("no", "1e3", "de"), (("x_n", "0x1F"),))


@pytest.mark.parametrize(("tags", "found"), [("[]", ()), ("~", ("d",)), ("a; b", ("a", "b")), ("''", ("d",))])
def test_tags(tags: str, found: tuple[str, ...]) -> None:
    (row,) = rows_of(f"defaults: {{tags: [d], consent: r}}\ntasks: [{{video: {V}, face: {F}, tags: {tags}}}]", "yaml")
    assert row.tags == found


TASKS = [
    ("video: 7, face: f", "-:2: video: is a number"),
    ("video: 1.5, face: f", "-:2: video: is a number"),
    ("video: v, face: true", "-:2: face: is true or false"),
    ("video: v, face: 2026-01-02", "-:2: face: is a date"),
    ("video: v, faces: {0: no}", "-:2: faces: is true or false"),
    ("video: v, faces: {x: f}", '-:2: faces: has the face id "x"; ids are numbers from 0 to 999'),
    ("video: v, faces: [f]", "-:2: faces: is a list; faces are a mapping of detected face id to new face"),
    ("video: v, faces: {0: f}, face_0: g", '-:2: face_0: means the same as "faces"'),
    ("video: [v], face: f", "-:2: video: is a list; one text is wanted"),
    ("video: v, face: {a: f}", "-:2: face: is a mapping; one text is wanted"),
    ("video: v, target: w, face: f", '-:2: target: means the same as "video"'),
    ("video: v, face: f, tags: {a: b}", "-:2: tags: is a mapping; tags are a list"),
    ("video: v, face: f, tags: [[a]]", "-:2: tags: is a list; one text is wanted"),
    ('video: v, face: f, tags: ["a;b"]', '-:2: tags: "a;b" has a ";"'),
    ("video: v, face: f, outptu: o", '-:2: outptu: is not a known field; the nearest is "output"'),
    ("video: v, face: f, repeat: 0", "-:2: repeat: is how often"),
    ("video: v, face: f, id: [a]", "-:2: id: is a list; one text is wanted"),
    ("video: v, face: f, video: w", '-:2: has the key "video" twice'),
    ("video: v, face: f, [a]: b", "-:2: has a key that is no text"),
    ("video: v, face: f, id: *x", '-:2: the alias "*x" has no anchor before it'),
    ("video: v, face: f, id: !!python/name:os.system x", '-:2: the tag "tag:yaml.org,2002:python/name:os.system"'),
    ("video: v, face: f, id: !!binary aGk=", '-:2: the tag "tag:yaml.org,2002:binary" is not accepted'),
    ("video: v, face: f, <<: a", '-:2: "<<" takes a mapping'),
    ("video: v, face: f, x_a: " + "[" * 30 + "]" * 30, "-:2: is nested too deep"),
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
    ("just words\n", "-:1: is no manifest: a mapping with tasks is wanted"),
    ("name: n\n", "-: has neither tasks nor a matrix"),
    (f"taks: [{TASK}]\n", '-:1: taks: is not known here; the nearest is "tasks"'),
    (f"tasks: [{TASK}]\nname: m\nname: n\n", "-:3: name: is there twice; it is also in line 2"),
    ("tasks: {a: b}\n", "-:1: tasks: is a mapping; a list of tasks is wanted"),
    ("tasks: word\n", '-:1: tasks: is text ("word"); a list of tasks is wanted'),
    ("tasks:\n- word\n", '-:2: is text ("word"); a task is a mapping'),
    ("tasks:\n-\n", "-:2: is nothing; a task is a mapping"),
    (f"name: [a]\ntasks: [{TASK}]\n", "-:1: name: is a list; the batch's name is wanted"),
    (f'name: "a\\x07"\ntasks: [{TASK}]\n', "-: name: of the batch has a control or invisible character (U+0007)"),
    (f"defaults: [a]\ntasks: [{TASK}]\n", "-:1: defaults: is a list; a task is a mapping"),
    (f"defaults: {{fcae: x}}\ntasks: [{TASK}]\n", '-:1: defaults.fcae: is not a known field; the nearest is "face"'),
    (f"defaults: {{id: x}}\ntasks: [{TASK}]\n", "-:1: defaults.id: cannot be a default"),
    (f"defaults: {{face: a, face: b}}\ntasks: [{TASK}]\n", '-:1: defaults: has the key "face" twice'),
    (f"tasks: [{TASK}]\n---\ntasks: []\n", "-:2: has several documents; one is wanted"),
    (f"tasks:\n- {TASK}\n\t- a\n", "-:3: is not YAML: found character that cannot start any token"),
    (f"tasks:\n- {TASK}\n- {{a: b\n", "-:4: is not YAML: did not find expected"),
    ("tasks:\n- {id: \x07}\n", "-:2: has a control character"),
    ("tasks:\n- {id: a, x_a: " + "&a [" * 40 + "]" * 40 + "}\n", "-:2: is nested too deep"),
    ("matrix: word\n", '-:1: matrix: is text ("word"); a mapping with video and face is wanted'),
    ("matrix: {consent: r}\n", "-:1: matrix: has neither video, image nor face"),
    (f"matrix:\n  video: []\n  face: [{F}]\n", "-:2: matrix.video: is an empty list"),
    (f"matrix:\n  video: [7]\n  face: [{F}]\n", "-:2: matrix.video: is a number"),
    (f"matrix:\n  video: ['']\n  face: [{F}]\n", "-:2: matrix.video: has an empty entry"),
    (f"matrix:\n  video: {{a: b}}\n  face: [{F}]\n", "-:2: matrix.video: is a mapping; a list is wanted"),
    (f"matrix:\n  video: [{V}]\n  target: [{V}]\n", "-:3: matrix.target: means the same as video"),
    (f"matrix:\n  video: [{V}]\n  image: [{V}]\n  face: {F}", "-:2: matrix: has one kind of target"),
    (f"matrix:\n  video: [{V}]\n  face: [{F}]\n  id: a\n", "-:4: matrix.id: cannot be given for a whole matrix"),
    (f"matrix:\n  video: [{V}]\n  faces: {{0: {F}}}\n", "-:3: matrix.faces: cannot be given for a whole matrix"),
    (f"matrix:\n  video: [{V}]\n  fcae: [{F}]\n", '-:3: matrix.fcae: is not a known field; the nearest is "face"'),
    (f"matrix:\n  video: [{V}]\n", "-:2: face: is missing"),
]


@pytest.mark.parametrize(("text", "sentence"), DOCUMENTS)
def test_documents_that_are_wrong(text: str, sentence: str) -> None:
    assert errors_of(text, "yaml")[0].startswith(sentence)


def test_bytes_that_are_not_utf8_are_placed() -> None:
    assert error_of(b"tasks:\n- {id: M\xfcller}\n", "yaml") == (
        "-:2: is not UTF-8: byte 0xfc at offset 15; save it as UTF-8"
    )


def test_a_matrix_takes_defaults_and_common_fields() -> None:
    rows = rows_of(
        f"defaults: {{face: {F}, consent: r}}\nmatrix: {{image: [{V}, {F}, {V}], tags: [t], repeat: 2}}", "yaml"
    )
    assert [(row.target, row.face, row.consent, row.tags) for row in rows[::2]] == [
        (V, F, "r", ("t",)),
        (F, F, "r", ("t",)),
    ]
    assert len(rows) == 4


def test_a_matrix_of_a_size_that_cannot_be_meant() -> None:
    listed = ", ".join(f"v{n}" for n in range(4000))
    assert error_of(f"matrix: {{video: [{listed}], face: [{listed}]}}", "yaml") == (
        "-:1: matrix: makes 16,000,000 rows; at most 10,000,000 are allowed"
    )


def test_globs_match_files_sorted_and_nothing_is_an_error(tmp_path: Path) -> None:
    for name in ("c/b.mp4", "c/a.mp4", "c/d/e.mp4", "f[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c/folder.mp4").mkdir()
    manifest = tmp_path / "m.yml"
    manifest.write_text('matrix:\n  video: ["c/**/*.mp4", c/a.mp4]\n  face: ["f[1].png"]\n')
    rows = [row for chunk in read([Source(str(manifest))]) for row in chunk.rows]
    assert [row.target for row in rows] == ["c/a.mp4", "c/b.mp4", "c/d/e.mp4"]
    assert {row.face for row in rows} == {"f[1].png"}
    manifest.write_text(f'matrix:\n  video:\n  - "c/*.mov"\n  face: [{F}]\n')
    assert file_errors(manifest) == [f'{manifest}:3: matrix.video: matches no file: "c/*.mov" (looked in "{tmp_path}")']


def test_aliases_of_aliases_eat_no_memory() -> None:
    """Nine levels of nine would be 387 million values."""
    levels = "".join(f"x_{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    text = f"x_0: &a0 [lol]\n{levels}tasks: [{{video: {V}, face: {F}, tags: *a9}}]\n"
    tracemalloc.start()
    try:
        assert error_of(text, "yaml") == "-:11: tags: is a list; one text is wanted"
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
        ("x_a: &a\n" + "".join(f"  k{n}: b\n" for n in range(1001)), "-:1002: has a mapping with more than 1,000 keys"),
    ],
)
def test_bounds(text: str, sentence: str) -> None:
    assert errors_of(text + "tasks: []\n", "yaml") == [sentence]
