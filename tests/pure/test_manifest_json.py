"""JSON manifests: a document with the structure of a YAML manifest, or a list of tasks."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.errors import ManifestErrors
from batchswap.manifest import Options, Source, check
from batchswap.manifest.readers.json_events import JsonEvents
from tests.pure.manifest_texts import F, V, error_of, errors_of, rows_of

TASK = f'{{"id": "a", "video": "{V}", "face": "{F}"}}'


@pytest.mark.parametrize("escaped", [True, False])
def test_what_python_writes_is_read(escaped: bool) -> None:
    task = {"id": "party 🎉", "video": V, "faces": {"1": F, "0": V}, "tags": ["de"], "x_n": 1.5, "consent": None}
    document = {"tasks": [task], "defaults": {"output": None, "consent": 'r/"1"'}, "name": "n"}
    for indent in (None, 2):
        (row,) = rows_of(json.dumps(document, ensure_ascii=escaped, indent=indent), "json")
        assert (row.key, row.faces, row.tags) == ("party 🎉", ((0, V), (1, F)), ("de",))
        assert (row.extra, row.consent) == ((("x_n", "1.5"),), 'r/"1"')


def test_a_list_and_a_matrix_are_read() -> None:
    assert [row.line for row in rows_of(f"[{TASK},\n\n{TASK.replace('a', 'b', 1)}]", "json")] == [1, 3]
    assert len(rows_of(f'{{"matrix": {{"video": ["{V}", "{F}"], "face": "{F}"}}}}', "json")) == 2


WRONG = [
    ("", "-: is empty"),
    (" \n ", "-: is empty"),
    ("7", "-:1: is not a manifest: a mapping with tasks is needed"),
    (TASK, '-:1: id: is not known here; did you mean "matrix"?'),
    (f'{{"tasks": []}}\n{TASK}', "-:2: has text after its end; if each line is an object"),
    (f"[{TASK}]\n{TASK}", "-:2: has text after its end; if each line is an object, use --format jsonl"),
    (f"[{TASK},]", '-:1: is not JSON: there is a comma before "]"'),
    (f"[{TASK}\n{TASK}]", '-:2: is not JSON: "," or "]" is missing before "{"'),
    ('{"tasks": [],}', '-:1: is not JSON: there is a comma before "}"'),
    ('{"tasks" []}', '-:1: is not JSON: a colon is missing before "["'),
    ("{tasks: []}", '-:1: is not JSON: "tasks" is not a key in double quotes'),
    ("{'tasks': []}", "-:1: is not JSON at \"'tasks': []}\""),
    ("{1: []}", '-:1: is not JSON: "1" is not a key in double quotes'),
    ('{"tasks": }', '-:1: is not JSON: a value is missing before "}"'),
    ('{"tasks": [\n', "-:2: is not JSON: the text ends too early"),
    ('{"tasks": ["a', '-:1: is not JSON at ""a"'),
    ('{"tasks": ["a\n"]}', '-:1: is not JSON at ""a\\x0a"]}"'),
    ('{"tasks": ["\\q"]}', "-:1: is not JSON: unknown escape sequence"),
    ('{"tasks": [NaN]}', '-:1: is not JSON at "NaN"'),
    ('{"tasks": 01}', '-:1: is not JSON at "01"'),
    ("[" * 3000, "-:1: is nested too deep"),
    (f'["{"a" * 1_200_000}"]', "-:1: has a text of more than 1,048,576 characters; perhaps a quote is never closed"),
    (f'{{"tasks": [{TASK}], "tasks": []}}', "-:1: tasks: occurs twice; it is also in line 1"),
    ('[\n{"id": "a", "id": "b"}]', '-:2: has the key "id" twice'),
    ('[\n{"video": 7,\n"face": "ftp://x"}]', "-:2: video: is a number"),
    ('["a"]', '-:1: is text ("a"); a task is a mapping'),
    ('[{"id": "\\ud83c", "video": "v", "face": "f"}]', "-:1: id: has a control or invisible character (U+D83C)"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_documents_that_are_wrong(text: str, sentence: str) -> None:
    assert errors_of(text, "json")[0].startswith(sentence)


def test_bytes_that_are_not_utf8_are_placed() -> None:
    assert error_of(b'["\n\xfc"]', "json") == "-:2: is not UTF-8: byte 0xfc at offset 3; save it as UTF-8"


def test_tasks_are_not_kept_while_they_are_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("m") / "m.json"
    path.write_text("[" + ",".join(TASK.replace("a", f"a{n}", 1) for n in range(6000)) + "]")
    tracemalloc.start()
    try:
        assert check([Source(str(path))], Options(check_files=False)) == {"m": 6000}
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


class Dripping:
    """A stream that returns one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._left = iter(data)

    def read(self, size: int) -> bytes:
        return bytes([byte] if (byte := next(self._left, None)) is not None else [])


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_every_value_gives_its_events_in_any_pieces(value: object, escaped: bool, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=escaped, indent=indent).encode(errors="surrogatepass")
    try:
        events = JsonEvents("-", Dripping(data))  # type: ignore[arg-type]
        names: list[str] = []
        while not names or names[-1] != "StreamEndEvent":
            names.append(type(events.get_event()).__name__)
    except UnicodeDecodeError:
        assert not escaped
        return

    def expected(one: object) -> list[str]:
        if isinstance(one, dict):
            inner = [name for item in one.values() for name in ["ScalarEvent", *expected(item)]]
            return ["MappingStartEvent", *inner, "MappingEndEvent"]
        if isinstance(one, list):
            return ["SequenceStartEvent", *(name for item in one for name in expected(item)), "SequenceEndEvent"]
        return ["ScalarEvent"]

    assert names == ["DocumentStartEvent", *expected(value), "StreamEndEvent"]


def test_json_lines_under_the_wrong_name_are_named() -> None:
    with pytest.raises(ManifestErrors, match="--format jsonl"):
        rows_of(f"[]\n{TASK}", "json")
