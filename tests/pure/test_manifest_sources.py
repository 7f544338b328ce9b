"""Sources of manifests: files, standard input and pipes, and paths that are refused."""

import io
import os
import threading
from pathlib import Path

import pytest

from batchswap.errors import ManifestErrors
from batchswap.manifest import ManifestFormat, Options, Source, check, read
from batchswap.manifest.sources import sniffed
from tests.pure.manifest_texts import NO_FILES, F, V, file_errors, rows_of

CSV = f"id,video,face\na,{V},{F}\n"
YAML = f"tasks:\n- {{id: a, video: {V}, face: {F}}}\n"
JSONL = f'{{"id": "a", "video": "{V}", "face": "{F}"}}\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", CSV),
        ("m.CSV", CSV),
        ("m.tsv", CSV.replace(",", "\t")),
        ("m.yaml", YAML),
        ("m.yml", YAML),
        ("m.json", f"[\n  {JSONL.strip()}\n]\n"),
        ("m.config", f'{{"tasks": [{JSONL.strip()}]}}'),
        ("m.json", f'{{"tasks": [{JSONL.strip()}]}}'),
        ("m.jsonl", JSONL),
        ("m.ndjson", JSONL),
        ("m", CSV),
        ("m.txt", YAML),
        ("m.list", JSONL),
    ],
)
def test_the_ending_or_the_first_line_determines_the_format(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    (chunk,) = read([Source(str(path))])
    assert (chunk.batch, chunk.rows[0].key, chunk.folder) == ("m", "a", str(tmp_path))


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("", "csv"),
        ("id,video\n", "csv"),
        ("# x: y\n\nvideo;face\n", "csv"),
        ("name: n\n", "yaml"),
        ("---\n", "yaml"),
        ("- {video: v}\n", "yaml"),
        ("{\n", "yaml"),
        ('{"tasks": [\n', "json"),
        ('{\n  "tasks": [\n', "json"),
        ('{"tasks": [{"video": "v"}]}\n', "json"),
        ('\n[{"video": "v"}]', "json"),
        ('[\n  {"video": "v"},\n', "json"),
        ("[{video: v}]", "yaml"),
        ("{tasks: [", "yaml"),
        ("# x\n\n# y\n- {video: v}\n", "yaml"),
        ('{"video": "v"}\n', "jsonl"),
    ],
)
def test_sniffing(head: str, found: ManifestFormat) -> None:
    assert sniffed(head) == found


@pytest.mark.parametrize(("text", "format"), [(CSV, "csv"), (YAML, "yaml"), (JSONL, "jsonl")])
def test_a_given_format_overrides_the_ending(tmp_path: Path, text: str, format: ManifestFormat) -> None:  # noqa: A002
    path = tmp_path / "m.xyz.csv"
    path.write_text(text)
    assert check([Source(str(path), format)]) == {"m.xyz": 1}


@pytest.mark.parametrize("text", [CSV, YAML, JSONL])
def test_standard_input_is_sniffed_and_read_twice_where_needed(text: str) -> None:
    (row,) = rows_of(text, None)
    assert row.output == "stdin/a.mp4"


def test_standard_input_starts_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v.mp4").write_bytes(b"x")
    (chunk,) = read([Source("-", batch="night")], None, io.BytesIO(f"video,face\nv.mp4,{F}\n".encode()))
    assert (chunk.batch, chunk.folder, chunk.file) == ("night", str(tmp_path), "-")


@pytest.mark.parametrize("text", [CSV, "name: other\n" + YAML])
def test_the_callers_batch_name_overrides_the_manifests(text: str) -> None:
    (chunk,) = read([Source("-", batch="mine")], NO_FILES, io.BytesIO(text.encode()))
    assert (chunk.batch, chunk.rows[0].output) == ("mine", "mine/a.mp4")


def test_a_pipe_can_be_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(
        target=path.write_text, args=(f"tasks:\n- {{id: a, video: {V}}}\ndefaults: {{face: {F}}}\n",)
    )
    writer.start()
    try:
        assert check([Source(str(path))]) == {"pipe": 1}
    finally:
        writer.join(10)


def test_several_manifests_and_counts(tmp_path: Path) -> None:
    for name, text in {"a.csv": CSV, "b.yaml": YAML, "c.jsonl": JSONL}.items():
        (tmp_path / name).write_text(text)
    sources = [Source(str(tmp_path / name)) for name in ("a.csv", "b.yaml", "c.jsonl")]
    assert check(sources) == {"a": 1, "b": 1, "c": 1}


def test_paths_that_are_not_manifests(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    found = file_errors(tmp_path / "no.csv", tmp_path, Path("/dev/null"), empty, empty / "x.csv", Path("a\0b"))
    assert found == [
        f"{tmp_path}/no.csv: does not exist",
        f"{tmp_path}: is a folder, not a manifest",
        "/dev/null: is a device or socket, not a manifest",
        f"{empty}: is empty",
        f"{empty}/x.csv: cannot be read: Not a directory",
        "a\0b: is not a path",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_manifest_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.touch()
    path.chmod(0)
    assert file_errors(path) == [f"{path}: cannot be read: Permission denied"]


def test_no_standard_input() -> None:
    with pytest.raises(ManifestErrors, match="-: standard input is not available"):
        check([Source("-")], Options())


def test_all_manifests_are_read_before_the_errors_come(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(f"video,face\n,{F}\n")
    found = file_errors(tmp_path / "1.csv", tmp_path / "0.csv", tmp_path / "2.csv")
    assert [error.split(": ")[0] for error in found] == [f"{tmp_path}/{n}" for n in ("1.csv:2", "0.csv", "2.csv:2")]


@pytest.mark.parametrize("rounds", [1, 3])
def test_an_iteration_may_end_early(tmp_path: Path, rounds: int) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,video,face\n" + "".join(f"{n},{V},{F}\n" for n in range(3000)))
    chunks = iter(read([Source(str(path))]))
    for _ in range(rounds):
        assert next(chunks).rows
    chunks.close()  # type: ignore[attr-defined]


def test_a_file_name_that_is_not_text_cannot_name_a_batch(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"b\xff.csv")
    path.write_text(CSV)
    (said,) = file_errors(path)
    assert "name: of the batch has a control or invisible character (U+DCFF)" in said
