"""Every fault of a media host has a reason, and no faulty file gets a final name."""

import asyncio
import gzip
import resource
import threading
import traceback
import zlib

import pytest

from batchswap.downloads import Downloader, Place
from batchswap.downloads.downloader import _in_thread
from batchswap.errors import DownloadError
from tests.http import scripted_replies
from tests.http.fetches import DIGEST, HTML, MOVIE, SIZE, TARGET, failed, fetched, held, partial, run
from tests.http.samples import picture
from tests.http.scripted import Act, Scripted, head
from tests.http.scripted_replies import media, reply
from tests.ports import reserve_port
from tests.waits import until


@pytest.mark.parametrize(
    ("act", "reason", "stale"),
    [
        (reply(401), "gone", True),
        (reply(403), "gone", True),
        (reply(404), "gone", True),
        (reply(410), "gone", True),
        (reply(400), "http", False),
        (reply(429), "unavailable", False),
        (reply(500), "unavailable", False),
        (reply(503), "unavailable", False),
        (reply(204), "http", False),
        (reply(304), "http", False),
        (reply(302), "http", False),
        (reply(408), "unavailable", False),
        (partial(Content_Range=f"bytes 0-3/{SIZE}"), "truncated", False),
        (partial(Content_Range=f"bytes 4-7/{SIZE}"), "range", False),
        (partial(), "not-media", False),
        (reply(416), "http", False),
        (reply(200, body=HTML), "not-media", False),
        (reply(200, json={"code": 404}), "not-media", False),
        (reply(200), "not-media", False),
        (reply(200, body=picture(".png")), "not-media", False),
        (reply(200, body=gzip.compress(MOVIE)[:-9], headers={"Content-Encoding": "gzip"}), "truncated", False),
        (reply(200, body=b"\x1f\x8bMOVIE" * 9, headers={"Content-Encoding": "gzip"}), "not-media", False),
        (scripted_replies.truncated(MOVIE, 900_000), "truncated", False),
        (scripted_replies.chunked(MOVIE[:900_000], complete=False), "truncated", False),
        (scripted_replies.raw(head(200, {}) + MOVIE[:900_000]), "truncated", False),
        (reply(200, body=MOVIE, headers={"Content-Length": "900000"}), "truncated", False),
        (reply(200, body=MOVIE, headers={"Content-Length": "-5"}), "connection", False),
        (scripted_replies.reset(), "connection", False),
        (scripted_replies.close(), "connection", False),
        (scripted_replies.raw(b"SSH-2.0\r\n\r\n"), "connection", False),
        (scripted_replies.stall(), "timeout", False),
        (scripted_replies.stall(after=head(200, {"Content-Length": str(SIZE)}) + MOVIE[:900_000]), "timeout", False),
        (scripted_replies.drip(head(200, {"Content-Length": str(SIZE)}) + MOVIE, 0.01, 10), "timeout", False),
    ],
)
def test_every_fault_has_a_reason_and_may_be_retried(place: Place, act: Act, reason: str, stale: bool) -> None:
    error, server = failed(place, then=act, stall=0.2 if reason == "timeout" else 30.0)
    assert (error.reason, error.stale, error.final) == (reason, stale, False)
    assert len(server.requests) == 1
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert "SIGNATURE" not in shown, "invariant 9"


def odd(status: int = 200, **headers: str) -> Act:
    """Send the whole movie with these headers."""
    return reply(status, body=MOVIE, headers={name.replace("_", "-"): value for name, value in headers.items()})


TAKEN: dict[str, Act] = {
    **{label: odd(Content_Encoding=label) for label in ("aws-chunked", "utf-8", "binary", "none", "gzip", "br", "")},
    "gzip": reply(200, body=gzip.compress(MOVIE), headers={"Content-Encoding": "gzip, aws-chunked"}),
    "x-gzip": reply(200, body=gzip.compress(MOVIE), headers={"Content-Encoding": "X-GZIP", "ETag": '"v1"'}),
    "two members": reply(
        200, body=gzip.compress(MOVIE[:999]) + gzip.compress(MOVIE[999:]), headers={"Content-Encoding": "gzip"}
    ),
    "deflate": reply(200, body=zlib.compress(MOVIE), headers={"Content-Encoding": "deflate"}),
    "201": odd(201),
    "203": odd(203),
    "206": odd(206, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}"),
    "206 of unknown size": odd(206, Content_Range=f"bytes 0-{SIZE - 1}/*"),
    "206 that says nothing": odd(206),
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_answer_with_the_file_is_accepted(place: Place, name: str) -> None:
    fetched(place, TAKEN[name])


def test_a_broken_compressed_answer_is_started_again_and_not_resumed(place: Place) -> None:
    coded = gzip.compress(MOVIE, 0)
    labels = {"Content-Encoding": "gzip", "ETag": '"v1"'}
    broken = scripted_replies.truncated(coded, len(coded) - 50_000, headers=labels)
    server = fetched(place, broken, reply(200, body=coded, headers=labels))
    assert not any("range" in request.headers for request in server.requests)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_retry_after_of_the_host_is_passed_on(place: Place, status: int) -> None:
    error, _ = failed(place, reply(status, headers={"Retry-After": "60"}))
    assert (error.reason, error.retry_after) == ("unavailable", "60")


def test_a_file_that_is_not_media_is_discarded(place: Place) -> None:
    failed(place, reply(200, body=HTML, headers={"ETag": '"v1"'}))
    assert held(place) == 0
    fetched(place, media(MOVIE))


def test_invariant_9_the_note_holds_no_url(place: Place) -> None:
    failed(place, media(MOVIE, keep=900_000))
    text = (place.final.parent / place.note).read_text()
    assert "SIGNATURE" not in text
    assert "http" not in text


def test_a_cancelled_download_stays_cancelled_if_its_bytes_cannot_be_kept(place: Place) -> None:
    place.out.write_bytes(b"")  # so that no folder can be created there

    async def talk(downloader: Downloader, server: Scripted) -> None:
        server.script = (scripted_replies.stall(after=head(200, {"Content-Length": str(SIZE)}) + MOVIE[:900_000]),)
        fetching = asyncio.ensure_future(downloader.fetch(server.url + TARGET, place, kind="video"))
        await until(lambda: server.requests, "the request")
        await asyncio.sleep(0.2)
        fetching.cancel()
        await asyncio.wait([fetching])
        assert fetching.cancelled()

    run(talk)


def test_a_missing_connection_is_reported(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(f"http://127.0.0.1:{reserve_port()}/?SIGNATURE", place, kind="video")
        assert caught.value.reason == "unreachable"
        assert "SIGNATURE" not in str(caught.value)

    run(talk)


@pytest.mark.parametrize(
    "act", [media(MOVIE), scripted_replies.chunked(MOVIE, size=70_000), scripted_replies.raw(head(200, {}) + MOVIE)]
)
def test_a_result_that_is_too_large_is_final(place: Place, act: Act) -> None:
    error, _ = failed(place, act, largest=1_000_000)
    assert (error.reason, error.final) == ("too-large", True)
    assert held(place) == 0, "it does not stay on the disk either"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "v.mp4",
        "file:///etc/passwd",
        "ftp://h/v.mp4",
        "http:///v.mp4",
        "http://h:99999999/v",
        "http://[oops/v",
        "http://user:SIGNATURE@127.0.0.1/v",
        "http://2130706433/v",
        "data:video/mp4;base64,AAAA",
    ],
)
def test_a_url_that_cannot_be_used_is_final(place: Place, url: str) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(url, place, kind="video")
        assert (caught.value.reason, caught.value.final) == ("bad-url", True)
        assert "SIGNATURE" not in str(caught.value)

    run(talk)


@pytest.mark.parametrize("room", [500_000, 1_500_000], ids=["in the first block", "in a later block"])
def test_a_full_disk_has_its_own_reason_and_keeps_the_part(place: Place, room: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def talk(downloader: Downloader, server: Scripted) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(DownloadError) as caught:
                await downloader.fetch(server.url + TARGET, place, kind="video")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (caught.value.reason, caught.value.final) == ("disk-full", False)
        assert (await downloader.fetch(server.url + TARGET, place, kind="video")).sha256 == DIGEST
        assert server.requests[1].headers["range"] == f"bytes={room}-"

    run(talk, media(MOVIE), media(MOVIE))


def test_repeated_downloads_wait_for_their_host_and_first_ones_do_not(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        for attempt in (1, 1, 2, 3):
            with pytest.raises(DownloadError):
                await downloader.fetch(server.url + TARGET, place, kind="video", attempt=attempt)
            assert list(downloader._again) == ([] if attempt == 1 else ["127.0.0.1"])
        limiter = downloader._again["127.0.0.1"]
        assert limiter.max_rate / limiter.time_period <= 4

    run(talk, then=reply(503))


def test_a_cancelled_caller_waits_for_the_thread_that_writes() -> None:
    let_go, ended = threading.Event(), threading.Event()

    def write() -> None:
        assert let_go.wait(10)
        ended.set()

    async def main(fail: bool) -> None:
        def work() -> None:
            write()
            if fail:
                raise ValueError("an unused error")

        task = asyncio.ensure_future(_in_thread(work))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    for fail in (False, True):
        let_go.clear()
        ended.clear()
        asyncio.run(main(fail))
