"""Requests to a media host before a download, and the faults that its answers show in inputs."""

import asyncio

import pytest

from batchswap.downloads import Downloader, Glance
from batchswap.errors import DownloadError
from batchswap.preflight.media import Role, Use, problem_of_answer
from tests.http.scripted import Act, Scripted
from tests.http.scripted_replies import close, redirect, reply


async def looked(*script: Act, allow_private: bool = True) -> tuple[Glance | DownloadError, Scripted]:
    async with Scripted(*script) as server, Downloader(allow_private=allow_private, stall=5.0) as downloader:
        try:
            return await downloader.look(f"{server.url}/v.mp4?X-Signature=SIGNATURE"), server
        except DownloadError as error:
            return error, server


def look(*script: Act, allow_private: bool = True) -> tuple[Glance | DownloadError, Scripted]:
    return asyncio.run(looked(*script, allow_private=allow_private))


def test_head_is_enough_if_it_is_answered() -> None:
    found, server = look(reply(headers={"Content-Type": "Video/MP4; x=1", "Content-Length": "77"}))
    assert found == Glance(200, "video/mp4", 77)
    assert [request.method for request in server.requests] == ["HEAD"]
    assert "x-api-key" not in server.requests[0].headers


@pytest.mark.parametrize("refused", [403, 404, 405, 501])
def test_if_head_is_refused_the_first_bytes_are_requested(refused: int) -> None:
    """A URL that is signed for GET is forbidden for HEAD."""
    part = {"Content-Type": "video/mp4", "Content-Range": "bytes 0-63/5000"}
    found, server = look(reply(refused), reply(206, body=bytes(64), headers=part))
    assert found == Glance(206, "video/mp4", 5000)
    assert [(request.method, request.headers.get("range")) for request in server.requests] == [
        ("HEAD", None),
        ("GET", "bytes=0-63"),
    ]


def test_a_missing_file() -> None:
    found, _ = look(reply(404), reply(404))
    assert isinstance(found, Glance)
    assert not found.is_there


def test_redirects_are_followed_but_never_to_a_place_that_is_not_public() -> None:
    found, server = look(redirect("/other.mp4"), reply(headers={"Content-Type": "video/mp4"}))
    assert isinstance(found, Glance)
    assert server.requests[-1].path == "/other.mp4"
    found, server = look(reply(), allow_private=False)
    assert isinstance(found, DownloadError)
    assert (found.reason, server.requests) == ("private-address", [])


def test_no_answer_is_an_error_without_the_signature() -> None:
    found, _ = look(close(), close())
    assert isinstance(found, DownloadError)
    assert "SIGNATURE" not in str(found)


@pytest.mark.parametrize(
    ("role", "found", "message"),
    [
        ("video", Glance(200, "video/mp4", 9), None),
        ("video", Glance(200, "application/octet-stream"), None),
        ("video", Glance(200), None),
        ("face", Glance(200, "image/webp", 9), None),
        ("image", Glance(206, "binary/octet-stream", 9), None),
        ("video", Glance(404, "text/html"), "https://x/v?… cannot be fetched: HTTP 404"),
        ("video", Glance(200, "video/mp4", 0), "https://x/v?… is empty"),
        ("video", Glance(200, "image/png", 9), "https://x/v?… is image/png, not a video"),
        ("face", Glance(200, "video/mp4", 9), "https://x/v?… is video/mp4, not an image"),
        ("face", Glance(200, "text/html", 9), "https://x/v?… is text/html: a page or a message, not a video or image"),
        (
            "image",
            Glance(200, "application/json"),
            "https://x/v?… is application/json: a page or a message, not a video or image",
        ),
    ],
)
def test_the_fault_of_an_input(role: Role, found: Glance, message: str | None) -> None:
    assert problem_of_answer(found, Use("https://x/v?sig=1", role, "", "m.csv", 2, "video")) == message
