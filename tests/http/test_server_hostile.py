"""Any request is answered with an envelope that blames the sender, and the server continues."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.fake_engine import KEY, Answer, send
from tests.http.local import Running, running

CREATE = "/api/v1/client/job/CreateTask"
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server"), balance=0.0) as server:
        yield server


@pytest.fixture(scope="module")
def good(client: Running) -> dict[str, Any]:
    """A body that nothing but the empty account speaks against."""
    body = client.body()
    assert client.create(body).status == 402
    return body


def check_refused(answer: Answer, *codes: int) -> None:
    assert answer.status in codes, answer.body
    assert set(answer.json) == {"code", "message", "data"}
    assert (answer.json["code"], answer.json["data"]) == (answer.status, None)
    assert "Traceback" not in answer.json["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@QUICK
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body(client: Running, body: bytes) -> None:
    for path in ("/job/CreateTask", "/job/EstimateTask", "/job/detect-face-video", "/job/detect-face-image"):
        check_refused(client.call("POST", path, body), 422)


FIELDS = ["model", "input", "callback_url", "detect_id", "faces", "video_url", "image_url", "new_face"]
MODELS = ["video-face-swap", "image-face-swap", "video-face-swap-multi", "image-face-swap-multi"]


@QUICK
@given(
    model=st.sampled_from(MODELS),
    outside=st.dictionaries(st.sampled_from(FIELDS[2:]), json_values, max_size=2),
    inside=st.dictionaries(st.sampled_from(FIELDS[3:]), json_values, max_size=3),
)
def test_any_value_in_any_field(
    client: Running, good: dict[str, Any], model: str, outside: dict[str, Any], inside: dict[str, Any]
) -> None:
    body = {"model": model, **outside, "input": {**good["input"], **inside}}
    check_refused(client.create(body), 422, 402)


@QUICK
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_id(client: Running, text: str) -> None:
    query = quote(text, safe="")
    check_refused(client.call("GET", f"/job/TaskInfo?task_id={query}"), 404, 422)
    check_refused(client.call("GET", f"/job/detect-face-result?detect_task_id={query}"), 404, 422)


@pytest.mark.parametrize("query", ["task_id=%ff%fe", "task_id=%00", "task_id=%ed%a0%80", "task_id=a&task_id=b", "&&=="])
def test_odd_queries(client: Running, query: str) -> None:
    check_refused(client.call("GET", f"/job/TaskInfo?{query}"), 404, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"model": "video-face-swap", "input": {"video_url": "\\ud800", "new_face": "x"}}',
        b'{"model": "video-face-swap", "input": 1e999}',
        b"\xef\xbb\xbf{}",
        b'{"model": ' + b"9" * 5000 + b"}",
        b"null",
        b"",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_odd_json(client: Running, body: bytes) -> None:
    check_refused(client.call("POST", "/job/CreateTask", body), 422)


def test_numbers_that_no_machine_holds_are_kept_as_they_were_sent(client: Running, good: dict[str, Any]) -> None:
    assert client.server is not None
    client.do(client.server.deposit, 3)
    body = json.dumps(good)[:-1] + ', "seed": ' + "9" * 400 + "}"
    task_id = client.call("POST", "/job/CreateTask", body.encode()).data["task_id"]
    assert client.info(task_id)["param"]["seed"] == int("9" * 400)


def test_a_body_that_is_too_large(client: Running) -> None:
    check_refused(client.call("POST", "/job/CreateTask", b'{"a": "' + b"x" * 2_000_000 + b'"}'), 422)


def test_a_body_that_claims_to_be_compressed(client: Running) -> None:
    answer = client.call("POST", "/job/CreateTask", b"not gzip", {"Content-Encoding": "gzip"})
    assert answer.status in (400, 422)


def exchange(client: Running, data: bytes) -> bytes:
    parts = urlsplit(client.base_url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "head",
    [
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: 100\r\n\r\n{{",
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: -1\r\n\r\n",
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        f"GET {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: \x80\xff\r\n\r\n",
        f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://[::bad HTTP/1.1\r\nHost: x\r\n\r\n",
        "NONSENSE\r\n\r\n",
        "\r\n\r\n",
    ],
    ids=lambda head: repr(head[-40:]),
)
def test_broken_http(client: Running, caplog: pytest.LogCaptureFixture, head: str) -> None:
    answer = exchange(client, head.encode("latin-1"))
    assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert b"Traceback" not in answer
    assert client.balance() >= 0
    assert not any(record.exc_info for record in caplog.records)


def answer_while_open(client: Running, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Return the first part of the answer; more may follow."""
    parts = urlsplit(client.base_url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10) as connection:
        for number, piece in enumerate(pieces):
            time.sleep(pause if number else 0.0)
            connection.sendall(piece)
        return connection.recv(65536)


def test_no_client_is_waited_for_for_ever(tmp_path: Path) -> None:
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: %d\r\n\r\n{{"
    with running(tmp_path / "patient") as client:  # announced as too large, it is refused before any of it comes
        assert b"the body is larger than 1,048,576 bytes" in answer_while_open(client, (head % 10**10).encode())
    with running(tmp_path / "hasty", receive_timeout=1.0) as client:
        assert b"the body did not arrive within 1 s" in answer_while_open(client, (head % 100).encode())
        for pieces, end in ((1, b" 400 "), (8, b" 200 ")):  # one that stalls; one that is slow, but continues
            url = client.call("GET", "/files/upload-url?content_type=video%2Fmp4&ext=.mp4").data["presigned_url"]
            parts = urlsplit(url)
            put = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n"
            put += "Content-Type: video/mp4\r\nContent-Length: 8\r\n\r\n"
            said = answer_while_open(client, put.encode(), *[b"x"] * pieces, pause=0.2)
            assert end in said.partition(b"\r\n")[0]
        assert not list(tmp_path.rglob("*.part"))


def test_a_key_never_comes_back(client: Running) -> None:
    for method, path in (("GET", f"/{KEY}"), ("POST", f"/job/CreateTask?key={KEY}")):
        assert KEY.encode() not in client.call(method, path, b"{").body


def test_a_mistake_of_the_server_is_an_envelope_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path) as client:
        body = client.body()
        presigned = client.call("GET", "/files/upload-url?content_type=a%2Fb").data["presigned_url"]
        shutil.rmtree(tmp_path / "inputs")
        check_refused(send("PUT", presigned, b"x", {"Content-Type": "a/b"}), 500)
        assert client.create(body).status == 422
        assert client.balance() > 0
    assert [record.message for record in caplog.records] == [f"PUT {urlsplit(presigned).path} failed"]


def test_no_key_and_no_secret_is_shown_by_a_value(client: Running) -> None:
    assert client.server is not None
    for shown in (repr(client.server), repr(client.server._context), repr(client.server._context.settings)):
        assert KEY not in shown
        assert repr(client.server._context.urls._secret) not in shown
