"""The lenient JSON reader: unreadable fields count as missing, and the others are kept."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.errors import WireError
from batchswap.wire import Envelope, find_task_id, read

WHOLE = {"code": 200, "message": "done", "data": {"task_id": "t1", "n": 1}}
TEXT = json.dumps(WHOLE)
HALF_PAIR = TEXT.replace("done", r"done \ud83d")

READ: dict[str, bytes] = {
    "NaN": TEXT.replace('"n": 1', '"n": NaN').encode(),
    "Infinity": TEXT.replace('"n": 1', '"n": -Infinity').encode(),
    "too large a number": TEXT.replace('"n": 1', '"n": 1e400').encode(),
    "too long a number": TEXT.replace('"n": 1', '"n": ' + "9" * 5000).encode(),
    "no JSON word": TEXT.replace('"n": 1', '"n": undefined').encode(),
    "deep": TEXT.replace('"n": 1', '"n": ' + "[" * 100_000 + "]" * 100_000).encode(),
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "a cut character": TEXT.encode().replace(b"done", b"done \xc3"),
    "Latin-1": TEXT.replace("done", "prêt").encode("latin-1"),
    "half a surrogate pair": HALF_PAIR.encode(),
    "half a surrogate pair, raw": TEXT.replace("done", "done \ud83d").encode("utf-8", "surrogatepass"),
    "a line break in a string": TEXT.replace("done", "done\n\x00\x1b").encode(),
    "an escape that is none": TEXT.replace("done", r"C:\xy").encode(),
    "zeros behind it": TEXT.encode() + b"\0\0",
    "words behind it": TEXT.encode() + b"\n<!-- served by proxy-3 -->",
    "white space around it": b"\r\n\0 " + TEXT.encode() + b" \n",
    "a key twice": TEXT.replace('"n": 1', '"n": 1, "task_id": "t1"').encode(),
    "a key twice, the last unreadable": TEXT.replace('"n": 1', '"task_id": NaN').encode(),
}


@pytest.mark.parametrize("name", READ)
def test_readable_fields_are_kept(name: str) -> None:
    envelope = Envelope.decode(READ[name])
    assert (envelope.code, envelope.data["task_id"]) == (200, "t1")
    json.dumps(envelope.data).encode()
    envelope.message.encode()


@pytest.mark.parametrize(
    ("code", "found"), [('"200"', 200), ("200.0", 200), ("2e2", 200), ("true", None), ("NaN", None), ("9" * 5000, None)]
)
def test_a_code_in_any_spelling(code: str, found: int | None) -> None:
    assert Envelope.decode(TEXT.replace("200", code).encode()).code == found


BROKEN = ["", "{", "nonsense", "{]", '{"a" 1}', '{"a": 1,}', "[1,]", '{"a": 1 "b": 2}', "{'a': 1}", "[1", '{"a": tru']


@pytest.mark.parametrize("text", BROKEN)
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        read(text.encode())


@given(st.integers(0, len(TEXT) - 1))
def test_a_truncated_document_is_refused_but_its_id_is_found(end: int) -> None:
    cut = TEXT[:end].encode()
    with pytest.raises(WireError):
        read(cut)
    assert find_task_id(cut) == ("t1" if '"t1"' in TEXT[:end] else "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)
def test_good_json_behind_a_mark_is_read_as_the_strict_reader_does(value: Any) -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value


@given(st.text(alphabet='{}[]:,"\\ \n0123456789eE.-truefalsnu', max_size=60))
def test_any_text_is_a_value_or_a_wire_error(text: str) -> None:
    try:
        found = read(text.encode())
    except WireError:
        return
    json.dumps(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TEXT[:-4], "t1"),
        ('{"taskId": "t2"', "t2"),
        (r'{"message": "{\"task_id\": \"t3\"}"', "t3"),
        ('{"task_id": 77}', "77"),
        ('{"my_task_id": "t4"}', ""),
        (TEXT[:20], ""),
        ("", ""),
    ],
)
def test_the_id_in_an_answer_that_was_cut_off(text: str, found: str) -> None:
    assert find_task_id(text.encode()) == found


def test_words_next_to_what_cannot_be_read_count() -> None:
    assert read(b'{"a": NaN, "b": true, "c": false, "d": null, "e": -2, "f": 1e3}') == {
        "b": True, "c": False, "d": None, "e": -2, "f": 1000.0,
    }  # fmt: skip
