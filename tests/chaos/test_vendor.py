"""The vendor of these tests answers as the documentation has it, like the local server (tests/http)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.vendor import selling
from tests.http.fake_engine import KEY, Client, send
from tests.http.test_server_conformance import ID, INFO, SWAP, URL, fill, fits, number, ok, refused

INPUTS = {"VIDEO": "https://cdn.example/a.mp4", "FACE": "https://cdn.example/f.png"}
RESULT = {"code": 200, "message": "", "media_urls": [URL]}
DONE = {"status": "success", "complete_at": number, "duration_s": number, "credits": 1, "result": RESULT}
TABLE: list[tuple[str, str, Any, Any]] = [
    ("GET", "/account/balance", None, ok({"balance": number})),
    ("POST", "/job/CreateTask", SWAP, ok({"task_id": ID})),
    ("POST", "/job/EstimateTask", SWAP, ok({"estimated_credits": 1, "balance": number, "affordable": True})),
    ("GET", "/job/TaskInfo?task_id=<DONE>", None, ok(INFO | {"param": SWAP} | DONE)),
    ("GET", "/job/TaskInfo?task_id=unheard-of", None, refused(404, ".*task.*")),
    ("GET", "/files/upload-url?content_type=video%2Fmp4&ext=.mp4", None, ok({"presigned_url": URL, "file_url": URL})),
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with selling() as vendor:
        yield Client(vendor.url, KEY)


@pytest.fixture(scope="module")
def urls(client: Client) -> dict[str, str]:
    return INPUTS | {"DONE": client.create(fill(SWAP, INPUTS)).data["task_id"]}


@pytest.mark.parametrize(("method", "path", "body", "golden"), TABLE, ids=[f"{m} {p}" for m, p, _, _ in TABLE])
def test_documented(client: Client, urls: dict[str, str], *, method: str, path: str, body: Any, golden: Any) -> None:
    answer = client.call(method, fill(path, urls), fill(body, urls))
    assert fits(fill(golden, urls), answer.json) == []
    assert answer.status == answer.json["code"]
    assert answer.headers["Content-Type"].startswith("application/json")


def test_a_result_is_what_the_task_made(client: Client, urls: dict[str, str]) -> None:
    url = client.info(urls["DONE"])["result"]["media_urls"][0]
    assert b"|".join([INPUTS["VIDEO"].encode(), INPUTS["FACE"].encode()]) in send("GET", url).body
