"""YAML manifests: defaults, tasks, matrix and anchors, in any order and style."""

import io
from pathlib import Path

import pytest
import yaml

from batchswap.errors import ManifestProblem
from batchswap.manifest import Source, read
from batchswap.manifest.readers.yaml_events import Events
from batchswap.manifest.readers.yaml_nodes import Listing, Mapping, Scalar
from batchswap.tasks import Model
from tests.pure.manifest_texts import F, V, file_errors, rows_of

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
        (f"face: {F}", f"video: {V}, faces: ~", Model.VIDEO, F),
    ],
)
def test_a_task_overrides_its_defaults(defaults: str, task: str, model: Model, face: str) -> None:
    (row,) = rows_of(f"defaults: {{{defaults}}}\ntasks: [{{{task}}}]", "yaml")
    assert (row.model, row.face) == (model, face)


def test_texts_are_kept_as_written() -> None:
    (row,) = rows_of(
        f"tasks: [{{id: 007, consent: 2026-01-02, tags: [no, 1e3, de], x_n: 0x1F, video: {V}, face: {F}}}]", "yaml"
    )
    assert (row.key, row.consent, row.tags, row.extra) == ("007", "2026-01-02", ("no", "1e3", "de"), (("x_n", "0x1F"),))


@pytest.mark.parametrize(("tags", "found"), [("[]", ()), ("~", ("d",)), ("a; b", ("a", "b")), ("''", ("d",))])
def test_tags(tags: str, found: tuple[str, ...]) -> None:
    (row,) = rows_of(f"defaults: {{tags: [d], consent: r}}\ntasks: [{{video: {V}, face: {F}, tags: {tags}}}]", "yaml")
    assert row.tags == found


def test_a_matrix_takes_defaults_and_common_fields() -> None:
    rows = rows_of(
        f"defaults: {{face: {F}, consent: r}}\nmatrix: {{image: [{V}, {F}, {V}], tags: [t], repeat: 2}}", "yaml"
    )
    assert [(row.target, row.face, row.consent, row.tags) for row in rows[::2]] == [
        (V, F, "r", ("t",)),
        (F, F, "r", ("t",)),
    ]
    assert len(rows) == 4


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


def test_own_keys_win_over_merged_ones_and_earlier_over_later() -> None:
    anchors = f"x_a: &a {{consent: a, face: {F}}}\nx_b: &b {{consent: b, tags: [b], id: b}}\n"
    text = f"{anchors}tasks: [{{id: k, <<: [*a, *b], video: {V}}}]"
    (row,) = rows_of(text, "yaml")
    assert (row.key, row.consent, row.tags, row.face) == ("k", "a", ("b",), F)


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_with_and_without_libyaml(loader: type[object]) -> None:
    events = Events("-", io.BytesIO(b"{a: [1, *x], b: !t c}"), loader)
    for _ in range(2):
        events.next()
    node = events.node(events.next())
    assert isinstance(node, Mapping)
    assert node.items["a"] == Listing([Scalar("1", 1, "number"), Scalar("", 1, "null")], 1)
    assert [line for line, _ in events.wrong] == [1, 1]
    for data, line in ((b"a: b\nc: \xff", 2), (b"a: b\nc: \x07", 2), (b"a: b\nc: [", None)):
        with pytest.raises(ManifestProblem) as caught:
            everything(Events("-", io.BytesIO(data), loader))
        assert caught.value.line == (line or caught.value.line)


def everything(events: Events) -> None:
    while not isinstance(events.next(), yaml.StreamEndEvent):
        pass


@pytest.mark.parametrize("more", ["matrix:\n", "matrix: ~\n", "defaults: ~\n"])
def test_a_part_that_says_nothing_is_no_mistake(more: str) -> None:
    assert [row.key for row in rows_of(f"tasks: [{TASK}]\n{more}", "yaml")] == ["a"]


def test_tasks_that_say_nothing_are_none() -> None:
    matrix = f"matrix: {{video: [{V}], face: [{F}]}}\n"
    assert len(rows_of(f"tasks:\n{matrix}", "yaml")) == 1


def test_a_face_that_says_nothing_is_not_replaced() -> None:
    (row,) = rows_of(f"tasks: [{{id: a, video: {V}, faces: {{0: {F}, 1: , 2: ~}}}}]\n", "yaml")
    assert row.faces == ((0, F),)
