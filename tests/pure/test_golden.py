"""Answers and requests written by hand after the documentation: how the client reads and writes them.

tests/http/test_server_conformance.py compares the local server with the same documentation, so that client and server
cannot agree on a mistake.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap import wire
from batchswap.ledger.api_cache import Detected
from batchswap.runner.prepare.prepare import Draft
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.states import State
from batchswap.tasks import Model, Task

DETECTION = """{"code": 200, "message": "success", "data": {
    "detect_task_id": "dt_1", "status": "succeeded", "error": null,
    "result": {"id": "det_9", "status": "succeeded", "error": null, "faces": [
        {"id": 0, "link": "https://cdn.example/0.jpg"}, {"id": 1, "link": "https://cdn.example/1.jpg"}]}}}"""
TASK = """{"code": 200, "message": "success", "data": {
    "task_id": "t_1", "provider": "crun", "model_version": "video-face-swap", "status": "success",
    "param": {"model": "video-face-swap", "input": {}}, "create_at": 1790000000, "complete_at": 1790000042,
    "duration_s": 42, "credits": 2.5, "source": "api",
    "result": {"code": 200, "message": "", "media_urls": ["https://cdn.example/out.mp4"]}}}"""

ANSWERS: list[tuple[Any, str, Any]] = [
    (
        wire.Detection,
        DETECTION,
        wire.Detection(
            "dt_1",
            "succeeded",
            "det_9",
            (wire.DetectedFace(0, "https://cdn.example/0.jpg"), wire.DetectedFace(1, "https://cdn.example/1.jpg")),
        ),
    ),
    (
        wire.Detection,
        '{"code": 200, "message": "", "data": {"detect_task_id": "dt_1", "status": "starting", "result": null}}',
        wire.Detection("dt_1", "starting"),
    ),
    (
        wire.Detection,
        '{"code": 200, "data": {"detect_task_id": "dt_1", "status": "failed", "result": null, "error": "no face"}}',
        wire.Detection("dt_1", "failed", error="no face"),
    ),
    (
        wire.Detection,
        (
            '{"code": 200, "data": {"detect_task_id": "dt_1", "status": "FAILED",'
            ' "result": {"id": null, "status": "failed", "faces": [], "error": "no face"}, "error": null}}'
        ),
        wire.Detection("dt_1", "failed", error="no face"),
    ),
    (wire.DetectAccepted, '{"code": 200, "data": {"detect_task_id": "dt_1"}}', wire.DetectAccepted("dt_1")),
    (
        wire.CreateTaskAccepted,
        '{"code": 200, "message": "success", "data": {"task_id": "t_1"}}',
        wire.CreateTaskAccepted("t_1"),
    ),
    (wire.Balance, '{"code": 200, "data": {"balance": 12.5}}', wire.Balance(12.5)),
    (
        wire.Estimate,
        '{"code": 200, "data": {"estimated_credits": 3, "balance": 12.5, "affordable": true}}',
        wire.Estimate(3.0, 12.5, True),
    ),
    (
        wire.UploadUrl,
        '{"code": 200, "data": {"presigned_url": "https://s3/put?sig=1", "file_url": "https://cdn.example/f.mp4"}}',
        wire.UploadUrl("https://s3/put?sig=1", "https://cdn.example/f.mp4"),
    ),
    (
        wire.TaskInfo,
        TASK,
        wire.TaskInfo(
            "t_1",
            "success",
            {"model": "video-face-swap", "input": {}},
            1790000000.0,
            1790000042.0,
            42.0,
            2.5,
            wire.Result(200, "", ("https://cdn.example/out.mp4",)),
            "crun",
            "video-face-swap",
            "api",
        ),
    ),
]


@pytest.mark.parametrize(("kind", "text", "expected"), ANSWERS)
def test_answers_are_read_as_documented(kind: Any, text: str, expected: Any) -> None:
    envelope = wire.Envelope.decode(text.encode())
    assert envelope.code == 200
    assert kind.from_json(envelope.data) == expected


@pytest.mark.parametrize(
    ("said", "read"), [(0, 0.0), ("2.5", 2.5), (-1, None), (-1e-9, None), ("-3", None), ("nan", None), ("inf", None)]
)
def test_a_price_is_never_less_than_nothing(said: Any, read: float | None) -> None:
    assert wire.TaskInfo.from_json({"credits": said}).credits == read
    assert wire.Estimate.from_json({"estimated_credits": said}).estimated_credits == read


@pytest.mark.parametrize("said", [1.7e308, -1.7e308, 10**300, -(10**300), 2**60, "1e300", "9" * 400, "nan", True, []])
def test_an_unusable_number_is_none(said: Any) -> None:
    found = wire.TaskInfo.from_json({"create_at": said, "complete_at": said, "credits": said, "duration_s": said})
    assert found == wire.TaskInfo.from_json({})
    assert wire.Balance.from_json({"balance": said}).balance is None
    assert wire.Result.from_json({"code": said}) == wire.Result()
    faces = [{"id": said, "link": "https://x/1.jpg"}, {"id": 1, "link": "https://x/2.jpg"}]
    detection = wire.Detection.from_json({"result": {"id": "det_9", "faces": faces}})
    assert [face.id for face in detection.faces] == [1]


@pytest.mark.parametrize(
    ("created", "completed", "took"),
    [
        (10, 10, 0.0),
        (10, "12.5", 2.5),
        (0, 7 * 86400, 604800.0),
        (0, 7 * 86400 + 1, None),
        (11, 10, None),
        (10, None, None),
    ],
)
def test_a_task_takes_between_zero_seconds_and_a_week_or_an_unknown_time(
    created: Any, completed: Any, took: Any
) -> None:
    assert wire.TaskInfo.from_json({"create_at": created, "complete_at": completed}).took == took


def test_a_balance_may_be_overdrawn() -> None:
    assert wire.Balance.from_json({"balance": -2}).balance == -2.0


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["detect_task_id", "status", "result", "id", "faces", "link", "error", "balance", "task_id", "media_urls"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_no_answer_can_break_the_reader(data: Any) -> None:
    for kind, _, _ in ANSWERS:
        kind.from_json(data)


FOUND = Detected("x", "det_9", ((0, "https://cdn.example/0.jpg"), (1, "https://cdn.example/1.jpg")), 0.0)


def drafted(model: Model, **fields: Any) -> Draft:
    task = Task(1, "b", "k", State.QUEUED, model, "t", "f", "o", "/", "d")
    return Draft(task, None, target="https://x/t", **fields)


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (
            drafted(Model.VIDEO, face="https://x/f.jpg"),
            '{"model": "video-face-swap", "input": {"video_url": "https://x/t", "new_face": "https://x/f.jpg"}}',
        ),
        (
            drafted(Model.IMAGE, face="https://x/f.jpg"),
            '{"model": "image-face-swap", "input": {"image_url": "https://x/t", "new_face": "https://x/f.jpg"}}',
        ),
        (
            drafted(Model.VIDEO_MULTI, faces=((1, "https://x/f.jpg"),), detected=FOUND),
            (
                '{"model": "video-face-swap-multi", "input": {"detect_id": "det_9", "video_url": "https://x/t",'
                ' "faces": [{"face_id": 0, "target": "https://cdn.example/0.jpg"}, {"face_id": 1, "target": "https://x/f.jpg"}]}}'
            ),
        ),
        (
            drafted(Model.IMAGE_MULTI, faces=((0, "https://x/f.jpg"),), detected=FOUND),
            (
                '{"model": "image-face-swap-multi", "input": {"detect_id": "det_9", "image_url": "https://x/t",'
                ' "faces": [{"face_id": 0, "target": "https://x/f.jpg"}, {"face_id": 1, "target": "https://cdn.example/1.jpg"}]}}'
            ),
        ),
    ],
    ids=lambda value: str(value.task.model) if isinstance(value, Draft) else "",
)
def test_submits_are_written_as_documented(draft: Draft, expected: str) -> None:
    assert draft.body().to_json() == json.loads(expected)


def test_a_face_that_was_not_detected_makes_no_body() -> None:
    with pytest.raises(TaskInvalid, match="face 3 was not detected; detected: 0, 1"):
        drafted(Model.VIDEO_MULTI, faces=((3, "https://x/f.jpg"),), detected=FOUND).body()
