"""The client: one request is sent, and one answer is read."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.client import Answer, Client, parse_retry_after
from batchswap.client.answers import LARGEST
from batchswap.clock import SystemClock
from tests.http import scripted_replies
from tests.http.asking import BODY, KEY, Call, answered, submit
from tests.http.scripted import Act, Scripted
from tests.http.scripted_replies import ok, reply

# Requests


def test_create_task_on_the_wire() -> None:
    answer, server = answered(submit, reply(json=ok({"task_id": "t1"})))
    assert (answer.status, answer.code, answer.data, answer.is_envelope) == (200, 200, {"task_id": "t1"}, True)
    assert answer.sent_at <= answer.answered_at
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/api/v1/client/job/CreateTask")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["idempotency-key"] == "ref-1"
    assert request.headers["content-type"] == "application/json"
    assert request.json() == BODY.to_json()


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "body"),
    [
        (lambda c: c.task_info("a+b&c=/d"), "GET", "job/TaskInfo", {"task_id": "a+b&c=/d"}, None),
        (lambda c: c.estimate(BODY), "POST", "job/EstimateTask", {}, BODY.to_json()),
        (lambda c: c.balance(), "GET", "account/balance", {}, None),
        (
            lambda c: c.upload_url("video/mp4", ".mp4"),
            "GET",
            "files/upload-url",
            {"content_type": "video/mp4", "ext": ".mp4"},
            None,
        ),
        (lambda c: c.detect("video", "u"), "POST", "job/detect-face-video", {}, {"video_url": "u"}),
        (lambda c: c.detect("image", "u"), "POST", "job/detect-face-image", {}, {"image_url": "u"}),
        (lambda c: c.detect_result("d1"), "GET", "job/detect-face-result", {"detect_task_id": "d1"}, None),
    ],
)
def test_calls_on_the_wire(call: Call, method: str, path: str, query: dict[str, str], body: Any) -> None:
    _, server = answered(call, reply(json=ok({})))
    [request] = server.requests
    assert (request.method, request.path, request.query) == (method, f"/api/v1/client/{path}", query)
    assert request.headers["x-api-key"] == KEY
    assert "idempotency-key" not in request.headers
    assert (request.json() if request.body else None) == body


def test_a_base_url_may_have_a_path() -> None:
    async def main() -> None:
        async with (
            Scripted(reply(json=ok())) as server,
            Client(server.url + "/crun/", KEY, SystemClock()) as client,
        ):
            await client.balance()
            assert server.requests[0].path == "/crun/api/v1/client/account/balance"

    asyncio.run(main())


def test_cookies_proxies_and_netrc_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def twice(client: Client) -> Answer:
        await client.balance()
        return await client.balance()

    _, server = answered(twice, then=reply(json=ok(), headers={"Set-Cookie": "session=1; Path=/"}))
    assert len(server.requests) == 2
    assert not {"cookie", "authorization"} & set(server.requests[1].headers)


# What comes back


@pytest.mark.parametrize(
    ("act", "status", "code", "is_envelope"),
    [
        (reply(json=ok(None, 429, "slow down")), 200, 429, True),
        (reply(429, json=ok(None, 429)), 429, 429, True),
        (reply(503, body=b"<html>"), 503, None, False),
        (reply(200, body=b""), 200, None, False),
        (reply(200, body=b"[1]"), 200, None, False),
        (reply(200, body=b"\xff\xfe"), 200, None, False),
        (reply(200, body=b"[" * 100_000), 200, None, False),
        (reply(200, json={"code": "200", "message": 5, "data": []}), 200, 200, True),
        (reply(200, json={}), 200, None, True),
        (reply(204, body=b""), 204, None, False),
        (scripted_replies.chunked(b'{"code": 200}', size=3), 200, 200, True),
        (reply(200, body=b'{"code": 200, "data": "' + b"x" * LARGEST + b'"}'), 200, None, False),
        (scripted_replies.redirect("/elsewhere", 301), 301, None, False),
        (scripted_replies.redirect("http://127.0.0.1:1/", 307), 307, None, False),
    ],
)
def test_answers(act: Act, status: int, code: int | None, is_envelope: bool) -> None:
    answer, server = answered(submit, act)
    assert (answer.status, answer.code, answer.is_envelope) == (status, code, is_envelope)
    assert len(server.requests) == 1


def test_retry_after_is_read_from_the_header() -> None:
    answer, _ = answered(submit, reply(429, json=ok(None, 429), headers={"Retry-After": "7"}))
    assert answer.retry_after == 7.0


NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("86400000", 86400000.0),
        ("9" * 400, None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        ("Sun Mar  1 12:00:30 2026", 30.0),
        ("Sun, 01 Mar 2026 14:00:30 +0200", 30.0),
        ("Sun, 32 Mar 2026 12:00:30 GMT", None),
        ("2026-03-01T12:00:30Z", None),
    ],
)
def test_retry_after_table(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW.timestamp()) == seconds


@given(st.text() | st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]*)?"))
def test_retry_after_never_fails(header: str) -> None:
    found = parse_retry_after(header, NOW.timestamp())
    assert found is None or 0.0 <= found < float("inf")


@given(st.integers(0, 10**8))
def test_retry_after_dates_are_seconds_from_now(seconds: int) -> None:
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(header, NOW.timestamp()) == seconds
