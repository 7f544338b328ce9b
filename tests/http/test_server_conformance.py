"""Every request and answer of api.md against the local provider, with samples written from the documentation.

Nothing of batchswap's wire code is used here, so that client and server cannot be wrong together.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.http.fake_engine import KEY, Client, send
from tests.http.local import Running, running

Check = Callable[[Any], bool]


def like(pattern: str) -> Check:
    return lambda found: isinstance(found, str) and re.fullmatch(pattern, found) is not None


def number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def second(found: Any) -> bool:
    return isinstance(found, int) and 1_700_000_000 < found < 10_000_000_000


def whatever(found: Any) -> bool:
    return True


ID = like(r"[!-~]{1,256}")
URL = like(r"http://127\.0\.0\.1:\d+/\S+")
TEXT = like(r".+")


def fits(golden: Any, found: Any, place: str = "") -> list[str]:
    """Return the differences as sentences. A golden dict has all keys; a golden function decides itself."""
    if callable(golden):
        return [] if golden(found) else [f"{place}: {found!r}"]
    if isinstance(golden, Mapping) and isinstance(found, Mapping):
        if set(golden) != set(found):
            return [f"{place}: keys {sorted(found)} instead of {sorted(golden)}"]
        return [each for key in golden for each in fits(golden[key], found[key], f"{place}.{key}")]
    if isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        pairs = zip(golden, found, strict=True)
        return [each for index, (one, other) in enumerate(pairs) for each in fits(one, other, f"{place}[{index}]")]
    return [] if golden == found and type(golden) is type(found) else [f"{place}: {found!r} instead of {golden!r}"]


def ok(data: Any) -> dict[str, Any]:
    return {"code": 200, "message": whatever, "data": data}


def refused(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": like(message), "data": None}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def urls(client: Running) -> dict[str, str]:
    """The values on this server of the names in the table below."""
    video = client.upload(b"video 61.2")
    still = client.upload(b"image", ".png", "image/png")
    crowd = client.upload(b"image of a face", ".png", "image/png")
    found = client.detect(video)
    in_still = client.detect(still, "image_url")
    done = client.create({"model": "video-face-swap", "input": {"video_url": video, "new_face": crowd}}).data["task_id"]
    client.wait(done)
    failed_video = client.upload(b"video 1 noface")
    failed = client.create({"model": "video-face-swap", "input": {"video_url": failed_video, "new_face": crowd}}).data
    client.wait(failed["task_id"])
    return {
        "VIDEO": video,
        "STILL": still,
        "FACE": crowd,
        "DETECT": found["result"]["id"],
        "DETECT_TASK": found["detect_task_id"],
        "LEFT": found["result"]["faces"][0]["link"],
        "DETECT_STILL": in_still["result"]["id"],
        "LEFT_STILL": in_still["result"]["faces"][1]["link"],
        "DONE": done,
        "FAILED": failed["task_id"],
    }


def fill(template: Any, urls: Mapping[str, str]) -> Any:
    """Fill the names, written as `<NAME>`, into a template."""
    if isinstance(template, str):
        return re.sub(r"<(\w+)>", lambda match: urls[match[1]], template)
    if isinstance(template, Mapping):
        return {key: fill(value, urls) for key, value in template.items()}
    return [fill(each, urls) for each in template] if isinstance(template, list) else template


SWAP = {"model": "video-face-swap", "input": {"video_url": "<VIDEO>", "new_face": "<FACE>"}}
SWAP_STILL = {"model": "image-face-swap", "input": {"image_url": "<STILL>", "new_face": "<FACE>"}}
FACES = [{"face_id": 0, "target": "<LEFT>"}, {"face_id": 1, "target": "<FACE>"}]
SWAP_MULTI = {
    "model": "video-face-swap-multi",
    "input": {"detect_id": "<DETECT>", "video_url": "<VIDEO>", "faces": FACES},
}
SWAP_STILL_MULTI = {
    "model": "image-face-swap-multi",
    "input": {
        "detect_id": "<DETECT_STILL>",
        "image_url": "<STILL>",
        "faces": [{"face_id": 0, "target": "<FACE>"}, {"face_id": 1, "target": "<LEFT_STILL>"}],
    },
}
INFO = {
    "task_id": ID,
    "provider": TEXT,
    "model_version": TEXT,
    "param": whatever,
    "create_at": second,
    "source": TEXT,
}

TABLE: list[tuple[str, str, Any, Any]] = [
    ("GET", "/account/balance", None, ok({"balance": number})),
    ("POST", "/job/CreateTask", SWAP, ok({"task_id": ID})),
    ("POST", "/job/CreateTask", SWAP_STILL, ok({"task_id": ID})),
    ("POST", "/job/CreateTask", SWAP_MULTI, ok({"task_id": ID})),
    ("POST", "/job/CreateTask", SWAP_STILL_MULTI, ok({"task_id": ID})),
    ("POST", "/job/CreateTask", {**SWAP, "callback_url": "http://127.0.0.1:9/x"}, ok({"task_id": ID})),
    ("POST", "/job/CreateTask", {**SWAP, "unheard_of": [1]}, ok({"task_id": ID})),
    ("POST", "/job/EstimateTask", SWAP, ok({"estimated_credits": 62.0, "balance": number, "affordable": True})),
    ("POST", "/job/EstimateTask", SWAP_MULTI, ok({"estimated_credits": 62.0, "balance": number, "affordable": True})),
    ("POST", "/job/EstimateTask", SWAP_STILL, ok({"estimated_credits": 1.0, "balance": number, "affordable": True})),
    (
        "GET",
        "/job/TaskInfo?task_id=<DONE>",
        None,
        ok(
            INFO
            | {
                "status": "success",
                "param": SWAP,
                "complete_at": second,
                "duration_s": number,
                "credits": 62.0,
                "result": {"code": 200, "message": "", "media_urls": [URL]},
            }
        ),
    ),
    (
        "GET",
        "/job/TaskInfo?task_id=<FAILED>",
        None,
        ok(
            INFO
            | {
                "status": "failed",
                "complete_at": second,
                "duration_s": number,
                "credits": 1.0,
                "result": {"code": 501, "message": like(".*video_url.*no face found in.*"), "media_urls": []},
            }
        ),
    ),
    ("GET", "/job/TaskInfo?task_id=unheard-of", None, refused(404, ".*task.*")),
    ("GET", "/job/TaskInfo", None, refused(422, "task_id.*")),
    (
        "GET",
        "/files/upload-url?content_type=video%2Fmp4&ext=.mp4",
        None,
        ok({"presigned_url": URL, "file_url": like(r"http://\S+\.mp4")}),
    ),
    ("GET", "/files/upload-url?content_type=nonsense&ext=.mp4", None, refused(422, "content_type.*")),
    ("GET", "/files/upload-url?content_type=video%2Fmp4&ext=../x", None, refused(422, "ext.*")),
    ("POST", "/job/detect-face-video", {"video_url": "<VIDEO>"}, ok({"detect_task_id": ID})),
    ("POST", "/job/detect-face-image", {"image_url": "<STILL>"}, ok({"detect_task_id": ID})),
    ("POST", "/job/detect-face-image", {"image_url": "<VIDEO>"}, refused(422, "image_url: .*video")),
    ("POST", "/job/detect-face-video", {"video_url": "<FACE>"}, refused(422, "video_url: .*picture")),
    (
        "GET",
        "/job/detect-face-result?detect_task_id=<DETECT_TASK>",
        None,
        ok(
            {
                "detect_task_id": ID,
                "status": "succeeded",
                "result": {
                    "id": ID,
                    "status": "succeeded",
                    "faces": [{"id": 0, "link": URL}, {"id": 1, "link": URL}],
                    "error": None,
                },
                "error": None,
            }
        ),
    ),
    ("GET", "/job/detect-face-result?detect_task_id=unheard-of", None, refused(404, ".*detection.*")),
    ("GET", "/job/Models", None, refused(404, ".*endpoint.*")),
    ("GET", "/job/CreateTask", None, refused(404, ".*endpoint.*")),
    ("POST", "/job/CreateTask", {**SWAP, "model": "video-face-swop"}, refused(422, "model.*")),
    ("POST", "/job/CreateTask", {"model": "video-face-swap"}, refused(422, "input.*")),
    ("POST", "/job/CreateTask", {**SWAP, "callback_url": "javascript:x"}, refused(422, "callback_url.*")),
]


@pytest.mark.parametrize(("method", "path", "body", "golden"), TABLE, ids=[f"{m} {p}" for m, p, _, _ in TABLE])
def test_documented(client: Running, urls: dict[str, str], *, method: str, path: str, body: Any, golden: Any) -> None:
    answer = client.call(method, fill(path, urls), fill(body, urls))
    assert fits(fill(golden, urls), answer.json) == []
    assert answer.status == answer.json["code"]
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"video_url": "<VIDEO>"}, "input.new_face: is missing"),
        ({"video_url": 7, "new_face": "<FACE>"}, "input.video_url: must be a string"),
        ({"video_url": "file:///etc/passwd", "new_face": "<FACE>"}, "input.video_url: must be an http.s. URL.*"),
        ({"video_url": "data:video/mp4;base64,AAAA", "new_face": "<FACE>"}, "input.video_url: must be an http.*"),
        ({"video_url": "/home/me/a.mp4", "new_face": "<FACE>"}, "input.video_url: must be an http.*"),
        ({"video_url": "http://", "new_face": "<FACE>"}, "input.video_url: must be an http.*"),
        ({"video_url": "http://a:99999999/", "new_face": "<FACE>"}, "input.video_url: must be an http.*"),
        ({"video_url": "<FACE>", "new_face": "<FACE>"}, "input.video_url: must be a video, this is a picture"),
        ({"video_url": "<VIDEO>", "new_face": "<VIDEO>"}, "input.new_face: must be a picture, this is a video"),
        ({"video_url": "<VIDEO>", "new_face": "http://127.0.0.1:9/a.png"}, "input.new_face: cannot be fetched.*"),
        (
            {"video_url": "http://127.0.0.1:1/uploads/00000000000000000000000000000000.mp4", "new_face": "<FACE>"},
            "input.video_url: no file was uploaded to this URL",
        ),
    ],
)
def test_invalid_inputs_are_named_with_the_reason(
    client: Running, urls: dict[str, str], given: Any, message: str
) -> None:
    answer = client.create({"model": "video-face-swap", "input": fill(given, urls)})
    assert fits(refused(422, message), answer.json) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detect_id": None}, "input.detect_id: is missing"),
        ({"detect_id": "unheard-of"}, "input.detect_id: there is no such detection"),
        ({"detect_id": "<DETECT_STILL>"}, "input.detect_id: belongs to another media URL"),
        ({"faces": []}, "input.faces: must be a list.*"),
        ({"faces": "0"}, "input.faces: must be a list.*"),
        ({"faces": [7]}, r"input.faces\[0\].face_id: must be an integer.*"),
        ({"faces": [{"face_id": True, "target": "<FACE>"}]}, r"input.faces\[0\].face_id: must be an integer.*"),
        ({"faces": [{"face_id": 0}]}, r"input.faces\[0\].target: is missing"),
        ({"faces": [{"face_id": 3, "target": "<FACE>"}]}, r".*3 was not detected; detected: 0, 1"),
        ({"faces": [{"face_id": 0, "target": "<FACE>"}] * 2}, r"input.faces\[1\].face_id: 0 is listed twice"),
        ({"faces": [{"face_id": 0, "target": "<LEFT>"}]}, "input.faces: at least one face must get a new picture"),
    ],
)
def test_faces_are_checked_against_their_detection(
    client: Running, urls: dict[str, str], change: Any, message: str
) -> None:
    body = {**SWAP_MULTI, "input": {**SWAP_MULTI["input"], **change}}  # type: ignore[dict-item]
    assert fits(refused(422, message), client.create(fill(body, urls)).json) == []


@pytest.mark.parametrize("key", ["", "ak_" + "x" * 32, KEY[:-1], KEY.upper()])
def test_a_wrong_key_is_401_before_anything_else(client: Running, key: str) -> None:
    stranger = Client(client.base_url, key)
    for path in ("/account/balance", "/nowhere"):
        assert fits(refused(401, ".*key.*"), stranger.call("GET", path).json) == []


def test_a_missing_key_is_401(client: Running) -> None:
    assert send("GET", f"{client.base_url}/api/v1/client/account/balance").status == 401


def test_maintenance_is_455_for_every_endpoint(client: Running) -> None:
    assert client.server is not None
    client.do(client.server.maintain, True)
    try:
        for method, path, body, _ in TABLE:
            assert fits(refused(455, ".*maintenance.*"), client.call(method, path, body).json) == []
    finally:
        client.do(client.server.maintain, False)


def test_callbacks_switched_off_are_a_disabled_feature(tmp_path: Path) -> None:
    with running(tmp_path, callbacks=False) as client:
        body = client.body(callback_url="http://127.0.0.1:9/")
        assert fits(refused(505, ".*disabled.*"), client.create(body).json) == []


def test_chosen_faces_are_swapped_and_the_others_are_not(client: Running, urls: dict[str, str]) -> None:
    info = client.wait(client.create(fill(SWAP_MULTI, urls)).data["task_id"])
    assert send("GET", info["result"]["media_urls"][0]).body == b"video 61.2 | 1=image of a face"
    assert send("GET", urls["LEFT"]).body == b"image of 0"
