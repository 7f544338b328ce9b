"""JSONL manifests: one object per line with the fields of a task."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.tasks import Model
from tests.pure.manifest_texts import F, V, errors_of, rows_of


def test_a_row_with_everything() -> None:
    task = {
        "id": 7,
        "video": V,
        "faces": {"1": F, "0": V},
        "output": "o.mp4",
        "consent": "r",
        "tags": ["a"],
        "x_n": 1.5,
    }
    (row,) = rows_of("\ufeff" + json.dumps(task) + "\r\n", "jsonl")
    assert (row.key, row.model, row.faces) == ("7", Model.VIDEO_MULTI, ((0, V), (1, F)))
    assert (row.output, row.consent, row.tags, row.extra, row.line) == ("o.mp4", "r", ("a",), (("x_n", "1.5"),), 1)


def test_the_first_line_is_a_row_and_empty_lines_are_skipped() -> None:
    text = f'{{"image": "{V}", "face": "{F}"}}\n\n{{"video": "{V}", "face": "{F}", "repeat": 2, "id": null}}'
    assert [row.line for row in rows_of(text, "jsonl")] == [1, 3, 3]


LINES = [
    ("video,face", "-:1: is not JSON: Expecting value at column 1"),
    ("[1, 2]", "-:1: is a list; a task is a mapping"),
    ("7", '-:1: is a number ("7"); a task is a mapping'),
    ("null", "-:1: is nothing; a task is a mapping"),
    ('{"video": 7, "face": "f"}', "-:1: video: is a number"),
    ('{"video": "v", "face": false}', "-:1: face: is true or false"),
    ('{"video": "v", "face": "f", "face": "g"}', '-:1: has the key "face" twice'),
    ('{"video": "v", "face": "f", "tags": {"a": 1}}', "-:1: tags: is a mapping"),
    ('{"video": "v", "face": "f", "Id": 1}', '-:1: Id: is not a known field; did you mean "id"?'),
    ('{"video": "v", "face": "f", "id": "\\ud800"}', "-:1: id: has a control or invisible character (U+D800)"),
    ('{"video": "v", "face": "f", "id": "a\\u0000"}', "-:1: id: has a control or invisible character (U+0000)"),
    ('{"video": "\\ud800", "face": "f"}', "-:1: video: has a control or invisible character (U+D800)"),
    ("{" + ",".join(f'"k{n}":1' for n in range(1001)) + "}", "-:1: has a mapping with more than 1,000 keys"),
    ("[" * 50 + "]" * 50, "-:1: is nested too deep"),
    ("[" * 100_000, "-:1: is not readable JSON"),
    ("9" * 5000, "-:1: is not readable JSON"),
    ('{"video": "' + "v" * 1_100_000, "-:1: the line is longer than 1,048,576 characters"),
    ("\n  \n", "-: is empty"),
]


@pytest.mark.parametrize(("line", "sentence"), LINES)
def test_lines_that_are_wrong(line: str, sentence: str) -> None:
    assert errors_of(line + "\n", "jsonl")[0].startswith(sentence)


def test_lines_after_a_wrong_one_are_read() -> None:
    assert [e.split(": ")[0] for e in errors_of('{\n{"video": 1}\n{"face": "f"}\n', "jsonl")] == ["-:1", "-:2", "-:3"]


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";\\"), min_size=1, max_size=20)


@given(st.lists(WORDS, unique_by=str.lower, max_size=5), st.lists(WORDS, max_size=3, unique=True), WORDS)
def test_written_lines_are_read(keys: list[str], tags: list[str], consent: str) -> None:
    lines = [json.dumps({"id": k, "video": V, "face": F, "tags": tags, "consent": consent}) for k in keys] or ["{}"]
    if keys:
        rows = rows_of("\n".join(lines), "jsonl")
        assert [(row.key, row.tags, row.consent) for row in rows] == [(key, tuple(tags), consent) for key in keys]
