"""Whole runs against an API with slightly wrong answers: every paid result is collected, and no id is lost."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.shop import Shop
from tests.chaos.vendor import Spoil, Vendor, selling
from tests.http import scripted_replies
from tests.http.samples import picture
from tests.http.scripted import Act, Request, head
from tests.http.scripted_replies import ok, reply

FAST = ("--rate", "none", "--no-progress", "--task-timeout", "20s")


def bend(status: int = 200, *, kinds: tuple[str, ...] = ("submit", "poll"), **changes: bytes) -> Spoil:
    """Give good answers to calls of these kinds, but with another status and with bytes replaced."""

    def spoil(vendor: Vendor, kind: str, request: Request) -> Act | None:
        if kind not in kinds:
            return None
        data = {"task_id": vendor.accept(request)} if kind == "submit" else vendor.info(request.query["task_id"])
        body = json.dumps({**ok(data, message="MESSAGE"), "extra": "EXTRA"}).encode()
        for name, value in changes.items():
            body = body.replace(b'"EXTRA"' if name == "extra" else name.encode(), value)
        return reply(status, body=body)

    return spoil


def mark(vendor: Vendor, kind: str, request: Request) -> Act | None:
    """Put a byte order mark before every answer."""
    if kind == "submit":
        return reply(body=b"\xef\xbb\xbf" + json.dumps(ok({"task_id": vendor.accept(request)})).encode())
    if kind == "poll":
        return reply(body=b"\xef\xbb\xbf" + json.dumps(ok(vendor.info(request.query["task_id"]))).encode())
    return None


def bare(vendor: Vendor, kind: str, request: Request) -> Act | None:
    """Send TaskInfo without the envelope."""
    return reply(json=vendor.info(request.query["task_id"])) if kind == "poll" else None


@pytest.mark.parametrize(
    "spoil",
    [
        bend(extra=b"NaN"),
        bend(extra=b"1e400"),
        bend(extra=b"[" * 5000 + b"]" * 5000),
        bend(MESSAGE=b"done \xc3"),
        bend(MESSAGE=rb"done \ud83d"),
        bend(201),
        bend(202),
        mark,
        bare,
    ],
    ids=["NaN", "1e400", "deep", "cut character", "half pair", "201", "202", "mark", "bare"],
)
def test_slightly_wrong_answers_are_understood(tmp_path: Path, spoil: Spoil) -> None:
    with selling() as vendor:
        shop = Shop(tmp_path, vendor)
        pairs = shop.rows(3)
        vendor.spoil = spoil
        result = shop.run(*FAST)
        assert result.exit_code == 0, result.output
        assert shop.results() == shop.expected(pairs)
        assert set(vendor.accepted.values()) == {1}


def doubt(vendor: Vendor, kind: str, request: Request) -> Act | None:
    """Cut off the answer to a submit after the id."""
    if kind != "submit":
        return None
    body = json.dumps(ok({"task_id": vendor.accept(request)})).encode()
    return scripted_replies.raw(head(200, {"Content-Length": str(len(body))}) + body[: body.index(b"}")])


def test_an_id_in_half_an_answer_is_recorded_shown_and_resolvable(tmp_path: Path) -> None:
    with selling() as vendor:
        shop = Shop(tmp_path, vendor)
        pairs = shop.rows(1)
        vendor.spoil = doubt
        assert shop.run(*FAST).exit_code == 4
        (task_id,) = vendor.tasks
        where = ["--db", str(tmp_path / "b.db")]
        shown = shop.call("show", "r0", *where).output
        assert f"the answer names the task id {task_id}" in shown
        assert f"--task-id {task_id}" in shown
        vendor.spoil = lambda _, __, ___: None
        assert shop.call("resolve", "r0", "--task-id", task_id, *where).exit_code == 0
        assert shop.run(*FAST).exit_code == 0
        assert shop.results() == shop.expected(pairs)
        assert set(vendor.accepted.values()) == {1}


def media_answer(act_of: Callable[[bytes], Act]) -> Spoil:
    """Make an answer of the media host from the result."""

    def spoil(vendor: Vendor, kind: str, request: Request) -> Act | None:
        if kind != "media":
            return None
        task_id = request.path.removeprefix("/media/").removesuffix(".mp4")
        return act_of(vendor.content(vendor.tasks[task_id][0]))

    return spoil


def cover_first(vendor: Vendor, kind: str, request: Request) -> Act | None:
    """Name a picture before the video in TaskInfo, both without a suffix, or answer the request for the picture."""
    if kind == "media" and request.path.endswith("/cover"):
        return reply(body=picture(".jpg"))
    if kind == "media":
        task_id = request.path.removeprefix("/media/")
        return reply(body=vendor.content(vendor.tasks[task_id][0]))
    if kind != "poll":
        return None
    found = vendor.info(request.query["task_id"]) or {}
    if found["result"]:
        url = f"{vendor.url}/media/{found['task_id']}"
        found["result"]["media_urls"] = [f"{url}/cover", url]
    return reply(json=ok(found))


@pytest.mark.parametrize(
    "spoil",
    [
        media_answer(lambda body: reply(body=body, headers={"Content-Encoding": "aws-chunked"})),
        media_answer(lambda body: reply(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})),
        media_answer(lambda body: reply(203, body=body)),
        media_answer(
            lambda body: reply(206, body=body, headers={"Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"})
        ),
        cover_first,
    ],
    ids=["aws-chunked", "gzip", "203", "206", "cover first"],
)
def test_results_in_unusual_responses_are_saved(tmp_path: Path, spoil: Spoil) -> None:
    with selling() as vendor:
        shop = Shop(tmp_path, vendor)
        pairs = shop.rows(2)
        vendor.spoil = spoil
        result = shop.run(*FAST)
        assert result.exit_code == 0, result.output
        assert shop.results() == shop.expected(pairs)


def test_the_same_command_fetches_results_after_a_long_outage_of_the_media_host(tmp_path: Path) -> None:
    with selling() as vendor:
        shop = Shop(tmp_path, vendor)
        pairs = shop.rows(12)
        vendor.spoil = lambda _, kind, __: reply(503, headers={"Retry-After": "1"}) if kind == "media" else None
        result = shop.run("--no-progress", "--rate", "20/1s", "--in-flight", "2", "--patience", "3s")
        assert result.exit_code == 8, result.output
        assert "stayed unavailable" in result.output
        assert "failed" not in result.output
        assert len(vendor.tasks) < 12, "nothing is submitted while no result can be fetched"
        vendor.spoil = lambda _, __, ___: None
        assert shop.run(*FAST).exit_code == 0
        assert shop.results() == shop.expected(pairs)
        assert set(vendor.accepted.values()) == {1}
