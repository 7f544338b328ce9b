"""The values of the API's JSON: what is written is read again, and what is no such value is missing."""

from typing import Any

import pytest

from batchswap.errors import WireError
from batchswap.wire import CreateTask, DetectedFace, Detection, Envelope, Result, TaskInfo, integer, read, text

WRITTEN: list[Any] = [
    CreateTask("video-face-swap", {"video_url": "https://x/v.mp4"}),
    CreateTask("video-face-swap", {}, "https://x/hook"),
    Result(200, "done", ("https://m/a.mp4", "https://m/b.mp4")),
    TaskInfo("t1", "success", {"model": "m"}, 1.0, 43.0, 42.0, 2.5, Result(200), "crun", "v2", "api"),
    TaskInfo("t1", "running"),
    Detection("d1", "succeeded", "det-9", (DetectedFace(0, "https://x/0.jpg"), DetectedFace(3, "https://x/3.jpg"))),
]


@pytest.mark.parametrize("value", WRITTEN, ids=lambda value: type(value).__name__)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert type(value).from_json(value.to_json()) == value


def test_a_detection_without_a_result_is_read_without_one() -> None:
    failed = Detection("d1", "failed", error="no face")
    assert failed.to_json() == {"detect_task_id": "d1", "status": "failed", "result": None, "error": "no face"}
    assert Detection.from_json(failed.to_json()) == failed


def test_a_face_without_a_number_is_left_out() -> None:
    listed = [{"id": "2", "link": 7}, {"id": "two"}, "face"]
    found = Detection.from_json({"detect_task_id": "d1", "status": "succeeded", "result": {"id": "x", "faces": listed}})
    assert found.faces == (DetectedFace(2, "7"),)
    assert Detection.from_json({"result": {"faces": "none"}}).faces == ()


def test_an_envelope_is_read_again() -> None:
    envelope = Envelope(200, "success", {"task_id": "t1"})
    assert Envelope.decode(envelope.encode()) == envelope


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null"])
def test_json_that_is_no_object_is_no_envelope(body: bytes) -> None:
    with pytest.raises(WireError, match="not a JSON object"):
        Envelope.decode(body)


def test_a_callback_may_be_wrapped() -> None:
    info = {"task_id": "t1", "status": "SUCCESS"}
    assert TaskInfo.from_callback(info) == TaskInfo.from_callback({"data": info}) == TaskInfo("t1", "success")
    assert TaskInfo.from_callback({"task_id": "t2", "data": info}).task_id == "t2"
    assert TaskInfo.from_callback({"data": "t1"}) == TaskInfo("", "")


@pytest.mark.parametrize("bracket", [b"]", b"}", b"[}", b"{]", b'{"a": [1}]'])
def test_a_bracket_that_closes_another_is_no_json(bracket: bytes) -> None:
    with pytest.raises(WireError, match="not JSON"):
        read(bracket)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN, "b": [1', b"NaN"])
def test_half_a_value_is_no_json(body: bytes) -> None:
    with pytest.raises(WireError, match="not JSON"):
        read(body)


@pytest.mark.parametrize(
    ("value", "found"),
    [("7", 7), (7.9, 7), (True, None), ("seven", None), (None, None), (2**60, None), ("1e999", None), (10**400, None)],
)
def test_numbers(value: Any, found: int | None) -> None:
    assert integer(value) == found


@pytest.mark.parametrize(("value", "found"), [("a", "a"), (7, "7"), (2.5, "2.5"), (True, ""), (None, ""), ([1], "")])
def test_texts(value: Any, found: str) -> None:
    assert text(value) == found
