"""Comparison of a row with the inputs that the API reports."""

from typing import Any

import pytest

from batchswap.runner.collect.input_match import fits
from batchswap.states import State
from batchswap.tasks import Model, Task

URL = "https://cdn.example/"
FACES = ((0, f"{URL}anna.jpg"), (2, f"{URL}ben.jpg"))
ONE = Task(1, "b", "k", State.UNCERTAIN, Model.VIDEO, f"{URL}a.mp4", f"{URL}anna.jpg", "b/k.mp4", "/", "d")
MANY = Task(2, "b", "m", State.UNCERTAIN, Model.VIDEO_MULTI, f"{URL}a.mp4", "", "b/m.mp4", "/", "d", faces=FACES)


def param(model: str, **inputs: Any) -> dict[str, Any]:
    return {"model": model, "input": inputs}


def listed(*faces: tuple[Any, str]) -> list[dict[str, Any]]:
    return [{"face_id": face_id, "target": f"{URL}{name}"} for face_id, name in faces]


@pytest.mark.parametrize(
    ("task", "param", "expected"),
    [
        (ONE, None, True),
        (ONE, param("video-face-swap", video_url=f"{URL}a.mp4", new_face=f"{URL}anna.jpg"), True),
        (ONE, param("video-face-swap", video_url=f"{URL}a.mp4"), True),
        (ONE, param("video-face-swap", video_url=f"{URL}b.mp4", new_face=f"{URL}anna.jpg"), False),
        (ONE, param("video-face-swap", video_url=f"{URL}a.mp4", new_face=f"{URL}ben.jpg"), False),
        (ONE, param("image-face-swap", image_url=f"{URL}a.mp4"), False),
        (MANY, param("video-face-swap-multi", faces=listed((0, "anna.jpg"), (1, "own.jpg"), (2, "ben.jpg"))), True),
        (MANY, param("video-face-swap-multi", faces=listed(("0", "anna.jpg"))), True),
        (MANY, param("video-face-swap-multi", faces="odd"), True),
        (MANY, param("video-face-swap-multi", faces=listed((0, "ben.jpg"), (2, "anna.jpg"))), False),
        (MANY, param("video-face-swap-multi", faces=[7, *listed((2, "anna.jpg"))]), False),
    ],
)
def test_inputs(task: Task, param: Any, expected: bool) -> None:
    assert fits(task, param) is expected
