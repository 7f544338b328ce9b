"""Downloads: a final name has a complete file or none, and received bytes are not downloaded again."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from batchswap.downloads import Downloader, Place
from batchswap.errors import DownloadError
from tests.http import scripted_replies
from tests.http.fetches import (
    DIGEST,
    MOVIE,
    SIZE,
    TARGET,
    failed,
    fetched,
    fetched_in_two,
    held,
    partial,
    run,
)
from tests.http.scripted import Act, Exchange, Scripted, head
from tests.http.scripted_replies import media, redirect, reply
from tests.waits import until

# The way of a good result


def test_invariant_5_a_result_gets_its_name_when_it_is_complete(place: Place) -> None:
    server = fetched(place, media(MOVIE))
    assert len(server.requests) == 1
    umask = os.umask(0)
    os.umask(umask)
    assert place.final.stat().st_mode & 0o777 == 0o666 & ~umask, "the user's file, by the user's umask"


@pytest.mark.parametrize(
    "act", [scripted_replies.chunked(MOVIE, size=70_000), scripted_replies.raw(head(200, {}) + MOVIE)]
)
def test_a_host_that_gives_no_length(place: Place, act: Act) -> None:
    fetched(place, act)


def test_a_host_that_sends_a_long_header(place: Place) -> None:
    fetched(place, media(MOVIE, headers={"Content-Security-Policy": "a" * 60_000}))


def test_a_media_host_gets_nothing_but_the_request(place: Place) -> None:
    cookie = redirect(TARGET + "&again")

    async def with_cookie(exchange: Exchange) -> bool:
        await exchange.send(head(302, {"Location": "/x", "Set-Cookie": "a=1; Path=/", "Content-Length": "0"}))
        return True

    server = fetched(place, Act(with_cookie), cookie, media(MOVIE))
    assert len(server.requests) == 3
    for request in server.requests:
        assert set(request.headers) == {"host", "user-agent", "accept", "accept-encoding"}
        assert request.headers["accept-encoding"] == "identity"


def test_a_signed_url_is_sent_byte_for_byte(place: Place) -> None:
    target = "/a%2Fb/v.mp4?X-Sig=a%2bb%2F==&n=%E2%82%AC"
    _, server = failed(place, reply(403), target=target)
    assert server.requests[0].target == target


# Going on where it broke


def test_a_broken_download_is_resumed(place: Place) -> None:
    server = fetched(place, media(MOVIE, keep=900_000), media(MOVIE, keep=900_000), media(MOVIE))
    first, second, third = server.requests
    assert "range" not in first.headers
    offsets = [int(r.headers["range"].removeprefix("bytes=").rstrip("-")) for r in (second, third)]
    assert 0 < offsets[0] < offsets[1] < len(MOVIE)
    assert second.headers["if-range"] == third.headers["if-range"] == '"v1"'


def test_a_fresh_signature_resumes_the_same_file(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + "/v.mp4?sig=1", place, kind="video")
        await downloader.fetch(server.url + "/v.mp4?sig=2", place, kind="video")
        assert "range" in server.requests[1].headers

    run(talk, media(MOVIE, keep=900_000), media(MOVIE))


def test_a_whole_part_of_another_result_is_not_taken_for_this_one(place: Place) -> None:
    """Media URLs of two results may differ only in their queries."""
    other = MOVIE[:-9] + b"the other"

    async def talk(downloader: Downloader, server: Scripted) -> None:
        first = await downloader.fetch(server.url + "/get?task=1", place, kind="video", remote_id="t1")
        again = await downloader.fetch(server.url + "/get?task=1&sig=2", place, kind="video", remote_id="t1")
        assert first == again
        assert len(server.requests) == 1, "a complete part is not downloaded again"
        second = await downloader.fetch(server.url + "/get?task=2", place, kind="video", remote_id="t2")
        assert second.sha256 == hashlib.sha256(other).hexdigest()
        assert "range" not in server.requests[1].headers

    run(talk, media(MOVIE), media(other))


def test_another_file_is_not_mixed_with_the_part(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + "/a.mp4", place, kind="video")
        verified = await downloader.fetch(server.url + "/b.mp4", place, kind="video")
        assert verified.sha256 == DIGEST
        assert "range" not in server.requests[1].headers

    run(talk, media(b"\xff" * len(MOVIE), keep=900_000), media(MOVIE))


@pytest.mark.parametrize(
    ("first", "resumes"),
    [
        ({}, True),
        ({"ETag": 'W/"weak"'}, False),
        ({"ETag": "", "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT", "Date": "Sun, 01 Mar 2026 12:01:00 GMT"}, True),
        (
            {"ETag": "", "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"},
            False,
        ),
        ({"ETag": "", "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}, False),
        ({"ETag": ""}, False),
        ({"ETag": "unquoted"}, False),
    ],
)
def test_only_a_strong_validator_allows_a_resume(place: Place, first: dict[str, str], resumes: bool) -> None:
    server = fetched(
        place, media(MOVIE, keep=900_000, headers=first), media(MOVIE, etag="") if resumes else media(MOVIE)
    )
    assert ("range" in server.requests[1].headers) is resumes


def test_a_file_that_changed_in_between_starts_over(place: Place) -> None:
    server = fetched(place, media(b"\xff" * len(MOVIE), etag='"v0"', keep=900_000), media(MOVIE))
    assert server.requests[1].headers["if-range"] == '"v0"'
    assert len(server.requests) == 2, "a 200 to a Range request is the whole file"


@pytest.mark.parametrize(
    "answer",
    [
        partial(),
        partial(Content_Range="bytes 0-3/4"),
        partial(Content_Range=f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}"),
        partial(Content_Range=f"items 0-3/{SIZE}"),
        partial(Content_Range=f"bytes 0-{'9' * 30}/*"),
        partial(Content_Type="multipart/byteranges; boundary=x"),
        reply(416, headers={"Content-Range": "bytes */17"}),
        reply(416),
    ],
)
def test_a_wrong_answer_to_a_range_starts_over_at_once(place: Place, answer: Act) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + TARGET, place, kind="video")
        verified = await downloader.fetch(server.url + TARGET, place, kind="video")
        assert verified.sha256 == DIGEST
        assert ["range" in r.headers for r in server.requests] == [False, True, False]

    run(talk, media(MOVIE, keep=900_000), answer, media(MOVIE))


def rest(*, last: int = SIZE - 1, total: int = SIZE, etag: str = '"v1"', body: bytes = b"evil") -> Act:
    """Send a 206 with the requested start and another fault."""

    async def do(exchange: Exchange) -> bool:
        start = exchange.request.headers["range"].removeprefix("bytes=").rstrip("-")
        given = {"Content-Range": f"bytes {start}-{last}/{total}", "ETag": etag, "Content-Length": str(len(body))}
        await exchange.send(head(206, given) + body)
        return True

    return Act(do)


@pytest.mark.parametrize(
    "answer",
    [rest(last=SIZE, total=SIZE + 1), rest(etag='"v2"'), rest(last=SIZE - 2), rest(last=SIZE)],
    ids=["another size", "another ETag", "not to the end", "beyond the end"],
)
def test_the_rest_of_another_file_is_refused(place: Place, answer: Act) -> None:
    server = fetched_in_two(place, lambda: None, media(MOVIE, keep=900_000), answer, media(MOVIE))
    assert ["range" in r.headers for r in server.requests] == [False, True, False]


@pytest.mark.parametrize("body", [b"four", MOVIE], ids=["shorter", "longer"])
def test_a_rest_with_a_wrong_length_is_refused(place: Place, body: bytes) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        for _ in range(2):
            with pytest.raises(DownloadError) as caught:
                await downloader.fetch(server.url + TARGET, place, kind="video")
            assert (caught.value.reason, caught.value.final) == ("truncated", False)

    run(talk, media(MOVIE, keep=900_000), rest(body=body))


def test_a_slow_host_with_steady_progress_is_waited_for(place: Place) -> None:
    data = head(200, {"Content-Length": str(SIZE)}) + MOVIE
    fetched(place, scripted_replies.drip(data, 0.1, SIZE // 8), stall=0.5)


def test_a_complete_part_needs_no_request(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        first = await downloader.fetch(server.url + TARGET, place, kind="video")
        assert await downloader.fetch(server.url + TARGET, place, kind="video") == first
        assert len(server.requests) == 1

    run(talk, media(MOVIE))


def test_a_complete_part_of_unknown_length_is_settled_by_416(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        first = await downloader.fetch(server.url + TARGET, place, kind="video")
        assert await downloader.fetch(server.url + TARGET, place, kind="video") == first
        assert server.requests[1].headers["range"] == f"bytes={SIZE}-"

    run(talk, scripted_replies.chunked(MOVIE, size=70_000, headers={"ETag": '"v1"'}), media(MOVIE))


def test_after_a_restart_of_the_machine_the_part_is_not_trusted(place: Place) -> None:
    def restart() -> None:
        note = place.final.parent / place.note
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert boot in note.read_text()
        note.write_text(note.read_text().replace(boot, "another"))

    server = fetched_in_two(place, restart, media(MOVIE, keep=900_000), media(MOVIE))
    assert "range" not in server.requests[1].headers


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"media": 1}', b"\xff" * 3], ids=repr)
def test_a_damaged_note_starts_over(place: Place, note: bytes) -> None:
    def damage() -> None:
        (place.final.parent / place.note).write_bytes(note)

    server = fetched_in_two(place, damage, media(MOVIE, keep=900_000), media(MOVIE))
    assert "range" not in server.requests[1].headers


def test_a_part_that_another_program_extended_is_refused(place: Place) -> None:
    def grow() -> None:
        with (place.final.parent / place.part).open("ab") as part:
            part.write(bytes(SIZE))

    fetched_in_two(place, grow, media(MOVIE, keep=900_000), then=media(MOVIE))


def test_a_cancelled_download_keeps_its_bytes(place: Place) -> None:
    begun = head(200, {"Content-Length": str(SIZE), "ETag": '"v1"'}) + MOVIE[:1_900_000]

    async def talk(downloader: Downloader, server: Scripted) -> None:
        task = asyncio.ensure_future(downloader.fetch(server.url + TARGET, place, kind="video"))
        await until(lambda: held(place), "the first bytes", pause=0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await downloader.fetch(server.url + TARGET, place, kind="video")).sha256 == DIGEST
        assert "range" in server.requests[1].headers

    run(talk, scripted_replies.stall(after=begun), media(MOVIE))
