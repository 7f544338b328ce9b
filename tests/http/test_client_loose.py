"""Answers that are nearly correct: their content counts, and a task id is never lost."""

import asyncio
import gzip
import json
import zlib
from pathlib import Path

import pytest

from batchswap.client import Answer, Client
from batchswap.errors import MaybeSent, WireError
from tests.http import scripted_replies
from tests.http.asking import HASTY, Call, answered, ask, submit
from tests.http.scripted import Act, head
from tests.http.scripted_replies import ok, redirect, reply

BODY = json.dumps(ok({"task_id": "t1"})).encode()
CUT = BODY[: BODY.index(b"}")]

GOOD: dict[str, Act] = {
    "201": reply(201, body=BODY),
    "a mark": reply(200, body=b"\xef\xbb\xbf" + BODY),
    "as HTML": reply(200, body=BODY, headers={"Content-Type": "text/html"}),
    "gzip": reply(200, body=gzip.compress(BODY), headers={"Content-Encoding": "gzip"}),
    "gzip without a label": reply(200, body=gzip.compress(BODY)),
    "deflate": reply(200, body=zlib.compress(BODY), headers={"Content-Encoding": "deflate"}),
    "gzip that is none": reply(200, body=BODY, headers={"Content-Encoding": "gzip"}),
    "br that is none": reply(200, body=BODY, headers={"Content-Encoding": "br"}),
    "aws-chunked": reply(200, body=BODY, headers={"Content-Encoding": "aws-chunked"}),
    "too long a Content-Length": scripted_replies.raw(head(200, {"Content-Length": str(len(BODY) + 9)}) + BODY),
    "chunks without an end": scripted_replies.chunked(BODY, complete=False),
    "reset behind it": scripted_replies.reset(after=head(200, {"Content-Length": "500"}) + BODY),
    "a long header": reply(200, body=BODY, headers={"Content-Security-Policy": "a" * 60_000}),
    "stalled behind it": scripted_replies.stall(after=head(200, {"Content-Length": "500"}) + BODY),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_nearly_correct_answer_counts(name: str) -> None:
    hurry = {"timeouts": HASTY} if "stalled" in name else {}
    found, server = answered(submit, then=GOOD[name], **hurry)
    assert (found.code, found.data, found.is_envelope) == (200, {"task_id": "t1"}, True)
    assert len(server.requests) == 1


DOUBTED: dict[str, Act] = {
    "cut in good order": reply(200, body=CUT),
    "cut by the connection": scripted_replies.raw(head(200, {"Content-Length": "500"}) + CUT),
    "reset": scripted_replies.reset(after=head(200, {"Content-Length": "500"}) + CUT),
    "cut chunks": scripted_replies.chunked(CUT, complete=False),
    "cut gzip": reply(200, body=gzip.compress(BODY, 0)[:-10], headers={"Content-Encoding": "gzip"}),
    "behind a warning": reply(200, body=b"<b>Warning</b>: deprecated\n" + BODY),
    "too large": reply(200, body=CUT + b" " * 9_000_000),
    "in JSON in JSON": reply(200, json=ok(json.dumps({"task_id": "t1"}))),
    "outside of data": reply(200, json={**ok(None), "task_id": "t1"}),
    "502 of a gateway": reply(502, body=CUT),
    "with blanks": reply(200, json=ok({"task_id": " t1\n"})),
    "under another name": reply(200, json=ok({"taskId": "t1"})),
    "in single quotes": reply(200, body=str(ok({"task_id": "t1"})).encode()),
}


@pytest.mark.parametrize("name", DOUBTED)
def test_an_id_in_an_invalid_answer_is_evidence(name: str) -> None:
    found, _ = answered(submit, then=DOUBTED[name])
    assert found.named == "t1"


@pytest.mark.parametrize("sent", [12345, "t" * 300, "tä1"])
def test_an_impossible_task_id_is_evidence_too(sent: int | str) -> None:
    found, _ = answered(submit, then=reply(200, json=ok({"task_id": sent})))
    assert found.named == str(sent)


def test_a_bare_id_is_in_the_data() -> None:
    found, _ = answered(submit, then=reply(200, json={"task_id": "t1"}))
    assert (found.code, found.data) == (None, {"task_id": "t1"})


# Uploads that the store sends elsewhere.


@pytest.fixture
def put(tmp_path: Path) -> Call:
    (tmp_path / "v.mp4").write_bytes(b"v" * 1_000_000)

    async def call(client: Client) -> Answer:
        return await client.put_file(f"{client._base}/put?sig=1", tmp_path / "v.mp4", "video/mp4")

    return call


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_of_an_upload_is_followed(put: Call, status: int) -> None:
    found, server = answered(put, redirect("/eu/put?sig=2", status), reply(200))
    assert found.status == 200
    assert [request.target for request in server.requests] == ["/put?sig=1", "/eu/put?sig=2"]
    assert [len(request.body) for request in server.requests] == [1_000_000] * 2
    assert not any("x-api-key" in request.headers for request in server.requests)


def test_other_redirects_of_an_upload_are_its_answer(put: Call) -> None:
    for status in (301, 302, 303):
        assert answered(put, then=redirect("/elsewhere", status))[0].status == status


@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.1/x", "http://192.0.2.1/x", "http://user@127.0.0.1/x", "http://[/", "ftp://127.0.0.1/x"],
)
def test_an_upload_is_not_sent_where_others_could_read_it(put: Call, location: str) -> None:
    with pytest.raises(WireError):
        asyncio.run(ask(put, then=redirect(location, 307)))


def test_an_upload_is_not_followed_in_circles(put: Call) -> None:
    with pytest.raises(WireError, match="more than 5 times"):
        asyncio.run(ask(put, then=redirect("/again", 307)))


def test_only_uploads_are_followed() -> None:
    found, server = answered(submit, then=redirect("/elsewhere", 307))
    assert found.status == 307
    assert len(server.requests) == 1


def test_an_empty_answer_is_maybe_sent() -> None:
    found, _ = asyncio.run(
        ask(submit, then=scripted_replies.raw(head(200, {"Content-Length": "500"}) + b'{"code": 200, '))
    )
    assert isinstance(found, MaybeSent)
