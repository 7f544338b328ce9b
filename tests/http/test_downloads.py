"""Downloads: whatever the host does, a final name has a complete file or none, and what came is not fetched again."""

import asyncio
import hashlib
import os
import resource
import socket
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from batchswap.downloads import Downloader, Place, Verified, is_on_private_address, is_published, publish
from batchswap.downloads.addresses import Found, Guard, is_public, public_socket
from batchswap.downloads.parts import Part
from batchswap.errors import DownloadError, PrivateAddress
from tests.http import scripted
from tests.http.samples import movie, picture
from tests.http.scripted import Act, Exchange, Request, Scripted, head, media, redirect, reply

MOVIE = movie() + (2_000_008).to_bytes(4, "big") + b"free" + bytes(2_000_000)
"""Large enough to arrive in many pieces."""
DIGEST = hashlib.sha256(MOVIE).hexdigest()
TARGET = "/results/v.mp4?X-Signature=SIGNATURE"

Talk = Callable[[Downloader, Scripted], Awaitable[None]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "results", "spring/intro.mp4")


def run(talk: Talk, *script: Act, then: Act | None = None, **options: Any) -> Scripted:
    async def main() -> Scripted:
        given = {"allow_private": True, "stall": 5.0, **options}
        async with Scripted(*script, then=then) as server, Downloader(**given) as downloader:
            await talk(downloader, server)
        return server

    return asyncio.run(main())


def fetched(place: Place, *script: Act, **options: Any) -> Scripted:
    """Fetch until it works, as often as there are acts, and publish; the final file must be MOVIE."""

    async def talk(downloader: Downloader, server: Scripted) -> None:
        for attempt in range(1, len(script) + 1):
            try:
                verified = await downloader.fetch(server.url + TARGET, place, kind="video", attempt=attempt)
            except DownloadError as error:
                assert not error.final
                assert not place.final.exists()
                continue
            assert verified == Verified(DIGEST, len(MOVIE), "video/mp4")
            await publish(place, verified)
            return
        raise AssertionError("it never worked")

    server = run(talk, *script, **options)
    assert place.final.read_bytes() == MOVIE
    assert listed(place.final.parent) == [place.name], "nothing is left beside it"
    return server


def failed(place: Place, *script: Act, target: str = TARGET, **options: Any) -> tuple[DownloadError, Scripted]:
    found: list[DownloadError] = []

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(server.url + target, place, kind="video")
        found.append(caught.value)

    server = run(talk, *script, **options)
    assert not place.final.exists()
    return found[0], server


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def held(place: Place) -> int:
    """Bytes in the part."""
    part = place.final.parent / place.part
    return part.stat().st_size if part.exists() else 0


# The way of a good result


def test_invariant_5_a_result_gets_its_name_when_it_is_complete(place: Place) -> None:
    server = fetched(place, media(MOVIE))
    assert len(server.requests) == 1
    umask = os.umask(0)
    os.umask(umask)
    assert place.final.stat().st_mode & 0o777 == 0o666 & ~umask, "the user's file, by the user's umask"


@pytest.mark.parametrize("act", [scripted.chunked(MOVIE, size=70_000), scripted.raw(head(200, {}) + MOVIE)])
def test_a_host_that_gives_no_length(place: Place, act: Act) -> None:
    fetched(place, act)


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


def test_a_broken_download_is_gone_on_with(place: Place) -> None:
    server = fetched(place, media(MOVIE, keep=900_000), media(MOVIE, keep=900_000), media(MOVIE))
    first, second, third = server.requests
    assert "range" not in first.headers
    offsets = [int(r.headers["range"].removeprefix("bytes=").rstrip("-")) for r in (second, third)]
    assert 0 < offsets[0] < offsets[1] < len(MOVIE)
    assert second.headers["if-range"] == third.headers["if-range"] == '"v1"'


def test_a_fresh_signature_goes_on_with_the_same_file(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + "/v.mp4?sig=1", place, kind="video")
        await downloader.fetch(server.url + "/v.mp4?sig=2", place, kind="video")
        assert "range" in server.requests[1].headers

    run(talk, media(MOVIE, keep=900_000), media(MOVIE))


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
def test_only_a_strong_validator_is_gone_on_with(place: Place, first: dict[str, str], resumes: bool) -> None:
    server = fetched(
        place, media(MOVIE, keep=900_000, headers=first), media(MOVIE, etag="") if resumes else media(MOVIE)
    )
    assert ("range" in server.requests[1].headers) is resumes


def test_a_file_that_changed_in_between_starts_over(place: Place) -> None:
    server = fetched(place, media(b"\xff" * len(MOVIE), etag='"v0"', keep=900_000), media(MOVIE))
    assert server.requests[1].headers["if-range"] == '"v0"'
    assert len(server.requests) == 2, "a 200 to a Range request is the whole file"


def partial(**headers: str) -> Act:
    """A 206 that answers a Range with these headers."""

    async def do(exchange: Exchange) -> bool:
        await exchange.send(head(206, {"Content-Length": "4", **{k.replace("_", "-"): v for k, v in headers.items()}}))
        await exchange.send(b"evil")
        return True

    return Act(do)


SIZE = len(MOVIE)


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


@pytest.mark.parametrize(
    ("total", "etag"), [(str(SIZE + 1), '"v1"'), (str(SIZE), '"v2"')], ids=["another size", "another ETag"]
)
def test_a_part_of_another_file_is_not_taken(place: Place, total: str, etag: str) -> None:
    async def answer(exchange: Exchange) -> bool:
        start = int(exchange.request.headers["range"].removeprefix("bytes=").rstrip("-"))
        given = {"Content-Range": f"bytes {start}-{int(total) - 1}/{total}", "ETag": etag, "Content-Length": "4"}
        await exchange.send(head(206, given) + b"evil")
        return True

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + TARGET, place, kind="video")
        assert (await downloader.fetch(server.url + TARGET, place, kind="video")).sha256 == DIGEST

    run(talk, media(MOVIE, keep=900_000), Act(answer), media(MOVIE))


def test_a_complete_part_costs_no_request(place: Place) -> None:
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

    run(talk, scripted.chunked(MOVIE, size=70_000, headers={"ETag": '"v1"'}), media(MOVIE))


def fetched_in_two(place: Place, meddle: Callable[[], object], *script: Act, **options: Any) -> Scripted:
    """The first act breaks, `meddle`, then it works; all from one host, since a part is of one media."""

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + TARGET, place, kind="video")
        assert held(place) > 0
        meddle()
        verified = await downloader.fetch(server.url + TARGET, place, kind="video")
        assert verified.sha256 == DIGEST

    return run(talk, *script, **options)


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


def test_a_part_that_grew_by_itself_is_not_taken(place: Place) -> None:
    def grow() -> None:
        with (place.final.parent / place.part).open("ab") as part:
            part.write(bytes(SIZE))

    fetched_in_two(place, grow, media(MOVIE, keep=900_000), then=media(MOVIE))


def test_a_cancelled_download_keeps_what_came(place: Place) -> None:
    begun = head(200, {"Content-Length": str(SIZE), "ETag": '"v1"'}) + MOVIE[:1_900_000]

    async def talk(downloader: Downloader, server: Scripted) -> None:
        task = asyncio.ensure_future(downloader.fetch(server.url + TARGET, place, kind="video"))
        while held(place) == 0:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await downloader.fetch(server.url + TARGET, place, kind="video")).sha256 == DIGEST
        assert "range" in server.requests[1].headers

    run(talk, scripted.stall(after=begun), media(MOVIE))


# What goes wrong

HTML = b"<!DOCTYPE html><title>Not here</title>"


@pytest.mark.parametrize(
    ("act", "reason", "stale"),
    [
        (reply(401), "gone", True),
        (reply(403), "gone", True),
        (reply(404), "gone", True),
        (reply(410), "gone", True),
        (reply(400), "http", False),
        (reply(429), "http", False),
        (reply(500), "http", False),
        (reply(503), "http", False),
        (reply(204), "http", False),
        (reply(304), "http", False),
        (reply(302), "http", False),
        (partial(Content_Range=f"bytes 0-3/{SIZE}"), "http", False),
        (reply(416), "http", False),
        (reply(200, body=HTML), "not-media", False),
        (reply(200, json={"code": 404}), "not-media", False),
        (reply(200), "not-media", False),
        (reply(200, body=picture(".png")), "not-media", False),
        (reply(200, body=MOVIE, headers={"Content-Encoding": "gzip"}), "not-media", False),
        (scripted.truncated(MOVIE, 900_000), "truncated", False),
        (scripted.chunked(MOVIE[:900_000], complete=False), "truncated", False),
        (scripted.raw(head(200, {}) + MOVIE[:900_000]), "truncated", False),
        (reply(200, body=MOVIE, headers={"Content-Length": "900000"}), "truncated", False),
        (reply(200, body=MOVIE, headers={"Content-Length": "-5"}), "connection", False),
        (scripted.reset(), "connection", False),
        (scripted.close(), "connection", False),
        (scripted.raw(b"SSH-2.0\r\n\r\n"), "connection", False),
        (scripted.stall(), "timeout", False),
        (scripted.stall(after=head(200, {"Content-Length": str(SIZE)}) + MOVIE[:900_000]), "timeout", False),
        (scripted.drip(head(200, {"Content-Length": str(SIZE)}) + MOVIE, 0.01, 10), "timeout", False),
    ],
)
def test_what_goes_wrong_has_a_reason_and_may_be_tried_again(place: Place, act: Act, reason: str, stale: bool) -> None:
    error, server = failed(place, then=act, stall=0.2)
    assert (error.reason, error.stale, error.final) == (reason, stale, False)
    assert len(server.requests) == 1
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert "SIGNATURE" not in shown, "invariant 9"


def test_what_is_no_media_is_forgotten(place: Place) -> None:
    failed(place, reply(200, body=HTML, headers={"ETag": '"v1"'}))
    assert held(place) == 0
    fetched(place, media(MOVIE))


def test_invariant_9_the_note_holds_no_url(place: Place) -> None:
    failed(place, media(MOVIE, keep=900_000))
    text = (place.final.parent / place.note).read_text()
    assert "SIGNATURE" not in text
    assert "http" not in text


def test_no_connection_is_said(place: Place) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(f"http://127.0.0.1:{port}/?SIGNATURE", place, kind="video")
        assert caught.value.reason == "unreachable"
        assert "SIGNATURE" not in str(caught.value)

    run(talk)


@pytest.mark.parametrize(
    "act", [media(MOVIE), scripted.chunked(MOVIE, size=70_000), scripted.raw(head(200, {}) + MOVIE)]
)
def test_a_result_that_is_too_large_is_final(place: Place, act: Act) -> None:
    error, _ = failed(place, act, largest=1_000_000)
    assert (error.reason, error.final) == ("too-large", True)


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


def test_a_full_disk_has_its_own_reason_and_keeps_the_part(place: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def talk(downloader: Downloader, server: Scripted) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
        try:
            with pytest.raises(DownloadError) as caught:
                await downloader.fetch(server.url + TARGET, place, kind="video")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (caught.value.reason, caught.value.final) == ("disk-full", False)
        assert (await downloader.fetch(server.url + TARGET, place, kind="video")).sha256 == DIGEST
        assert server.requests[1].headers["range"] == "bytes=1500000-"

    run(talk, media(MOVIE), media(MOVIE))


def test_repeated_tries_queue_for_their_host_and_first_tries_do_not(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        for attempt in (1, 1, 2, 3):
            with pytest.raises(DownloadError):
                await downloader.fetch(server.url + TARGET, place, kind="video", attempt=attempt)
            assert list(downloader._again) == ([] if attempt == 1 else ["127.0.0.1"])
        limiter = downloader._again["127.0.0.1"]
        assert limiter.max_rate / limiter.time_period <= 4

    run(talk, then=reply(503))


# Redirects and addresses


def test_redirects_are_followed_relative_and_absolute(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        server.script = (
            redirect("other?a=%2F", 301),
            redirect(f"{server.url}/abs", 308),
            redirect("//" + server.url.partition("//")[2] + "/net", 303),
            media(MOVIE),
        )
        assert (await downloader.fetch(server.url + TARGET, place, kind="video")).sha256 == DIGEST
        assert [r.target for r in server.requests] == [TARGET, "/results/other?a=%2F", "/abs", "/net"]

    run(talk)


def test_redirects_without_an_end_are_given_up(place: Place) -> None:
    error, server = failed(place, then=redirect("/again"))
    assert (error.reason, error.final, len(server.requests)) == ("redirects", False, 6)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/", "http://[oops", "http://u:p@127.0.0.1/"])
def test_a_redirect_to_something_else_is_not_followed(place: Place, location: str) -> None:
    error, server = failed(place, redirect(location))
    assert (error.reason, len(server.requests)) == ("bad-url", 1)


def allow(*answers: bool) -> Guard:
    """Stands in for a guard to whom this machine is public: what it says to one connection after the other."""
    left = list(answers)

    def guard(info: Found) -> socket.socket:
        return socket.socket(*info[:3]) if left.pop(0) else public_socket(info)

    return guard


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_every_hop_is_asked_for_its_address(place: Place, host: str) -> None:
    async def talk(_: Downloader, server: Scripted) -> None:
        server.script = (reply(302, headers={"Location": f"http://{host}:{server.port}/x", "Connection": "close"}),)
        guarded = Downloader(allow_private=False)
        guarded._guard = allow(True, *[False] * 5)
        async with guarded:
            with pytest.raises(DownloadError) as caught:
                await guarded.fetch(server.url + TARGET, place, kind="video")
        assert (caught.value.reason, caught.value.final) == ("private-address", True)
        assert [r.path for r in server.requests] == ["/results/v.mp4"]

    run(talk)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "169.254.169.254"])
def test_a_private_address_is_refused_before_anything_is_sent(place: Place, host: str) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(f"http://{host}:{server.port}/v.mp4", place, kind="video")
        assert (caught.value.reason, caught.value.final) == ("private-address", True)
        assert server.connections == 0

    run(talk, allow_private=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.31.255.255", False),
        ("192.0.2.1", False),
        ("192.168.0.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::808:808", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378::1", False),
        ("fc00::1", False),
        ("fd12::1", False),
        ("fe80::1", False),
        ("fe80::1%lo", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("address", ["2130706433", "127.1", "0x7f000001", "localhost", ""])
def test_an_address_that_only_the_system_understands_is_refused(address: str) -> None:
    with pytest.raises(PrivateAddress):
        public_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_whether_the_api_is_on_a_private_address() -> None:
    assert asyncio.run(is_on_private_address("http://localhost:1")) is True
    assert asyncio.run(is_on_private_address("https://127.0.0.1")) is True
    assert asyncio.run(is_on_private_address("https://8.8.8.8")) is False
    assert asyncio.run(is_on_private_address("https://name.invalid")) is False


# Places


@pytest.mark.parametrize(
    "output", ["", ".", "..", "../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "a/b\0c.mp4", "out/x.mp4"]
)
def test_a_place_outside_is_final_and_makes_nothing(tmp_path: Path, output: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results" / "out").symlink_to(tmp_path / "elsewhere")

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(server.url + TARGET, Place(tmp_path / "results", output), kind="video")
        assert (caught.value.reason, caught.value.final) == ("outside", True)
        assert server.requests == []

    run(talk)
    assert listed(tmp_path) == ["elsewhere", "results"]
    assert listed(tmp_path / "elsewhere") == []


def test_a_symlink_that_stays_inside_is_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "results" / "real").mkdir(parents=True)
    (tmp_path / "results" / "link").symlink_to("real")

    async def talk(downloader: Downloader, server: Scripted) -> None:
        place = Place(tmp_path / "results", "link/x.mp4")
        await publish(place, await downloader.fetch(server.url + TARGET, place, kind="video"))

    run(talk, media(MOVIE))
    assert (tmp_path / "results" / "real" / "x.mp4").read_bytes() == MOVIE


def test_a_symlink_that_appears_later_leads_nowhere(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    async def talk(downloader: Downloader, server: Scripted) -> None:
        verified = await downloader.fetch(server.url + TARGET, place, kind="video")
        place.final.parent.rename(tmp_path / "results" / "moved")
        place.final.parent.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DownloadError, match="does not stay below"):
            await publish(place, verified)

    run(talk, media(MOVIE))
    assert listed(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("which", ["part", "note"])
def test_a_symlink_in_place_of_a_part_is_not_written_through(place: Place, tmp_path: Path, which: str) -> None:
    (tmp_path / "victim").write_text("mine")
    place.final.parent.mkdir(parents=True)
    (place.final.parent / getattr(place, which)).symlink_to(tmp_path / "victim")
    error, _ = failed(place, media(MOVIE))
    assert error.reason == "disk"
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_pipe_in_place_of_a_part_does_not_hang(place: Place) -> None:
    place.final.parent.mkdir(parents=True)
    os.mkfifo(place.final.parent / place.part)
    error, _ = failed(place, media(MOVIE))
    assert error.reason == "disk"


def test_a_file_where_a_folder_should_be_is_said(place: Place) -> None:
    place.out.mkdir()
    (place.out / "spring").write_text("a file")
    error, _ = failed(Place(place.out, "spring/x.mp4"), media(MOVIE))
    assert (error.reason, error.final) == ("disk", False)


def test_long_names_have_parts_too(tmp_path: Path) -> None:
    place = Place(tmp_path, "ü" * 125 + ".mp4")
    fetched(place, media(MOVIE, keep=900_000), media(MOVIE))


def test_one_process_at_a_time_holds_a_part(place: Place) -> None:
    other = Part(place, "https://h/x")
    other.open()
    try:
        error, server = failed(place, media(MOVIE))
        assert (error.reason, error.final, server.requests) == ("busy", False, [])
    finally:
        other.close()
    fetched(place, media(MOVIE))


# The final name


def made(place: Place) -> Verified:
    """A verified part in its place."""
    found: list[Verified] = []

    async def talk(downloader: Downloader, server: Scripted) -> None:
        found.append(await downloader.fetch(server.url + TARGET, place, kind="video"))

    run(talk, media(MOVIE))
    return found[0]


def test_a_foreign_file_is_never_overwritten_and_the_part_is_kept(place: Place) -> None:
    verified = made(place)
    place.final.write_text("mine")
    with pytest.raises(DownloadError) as caught:
        asyncio.run(publish(place, verified))
    assert (caught.value.reason, caught.value.final) == ("output-taken", True)
    assert place.final.read_text() == "mine"
    place.final.unlink()
    asyncio.run(publish(place, verified))
    assert place.final.read_bytes() == MOVIE


@pytest.mark.parametrize("kind", ["symlink to the same bytes", "folder"])
def test_what_is_no_file_is_foreign(place: Place, tmp_path: Path, kind: str) -> None:
    verified = made(place)
    if kind == "folder":
        place.final.mkdir()
    else:
        (tmp_path / "copy").write_bytes(MOVIE)
        place.final.symlink_to(tmp_path / "copy")
    with pytest.raises(DownloadError, match="is another file"):
        asyncio.run(publish(place, verified))


def test_the_tasks_own_former_result_gives_way(place: Place) -> None:
    verified = made(place)
    place.final.write_text("the former result")
    other, former = (hashlib.sha256(text).hexdigest() for text in (b"another", b"the former result"))
    with pytest.raises(DownloadError, match="is another file"):
        asyncio.run(publish(place, verified, replaces=other))
    asyncio.run(publish(place, verified, replaces=former))
    assert place.final.read_bytes() == MOVIE
    assert listed(place.final.parent) == [place.name]
    asyncio.run(publish(place, verified, replaces=former))


def test_publishing_again_after_a_crash_at_any_point_changes_nothing(place: Place) -> None:
    verified = made(place)
    part = place.final.parent / place.part
    os.link(part, place.final)  # the process died after the link
    asyncio.run(publish(place, verified))
    assert listed(place.final.parent) == [place.name]
    asyncio.run(publish(place, verified))  # after everything
    assert place.final.read_bytes() == MOVIE
    (place.final.parent / place.note).write_text("{}")  # before the note was removed
    asyncio.run(publish(place, verified))
    assert listed(place.final.parent) == [place.name]


def test_invariant_5_a_part_that_has_the_final_name_too_is_never_written_to(place: Place) -> None:
    made(place)
    os.link(place.final.parent / place.part, place.final)

    async def talk(downloader: Downloader, server: Scripted) -> None:
        for url in ("/another.mp4", "/third.mp4"):
            with pytest.raises(DownloadError):
                await downloader.fetch(server.url + url, place, kind="video")
            assert place.final.read_bytes() == MOVIE

    run(talk, reply(200, body=HTML), media(b"\0" * SIZE, keep=900_000))


def test_a_part_that_is_gone_is_fetched_again(place: Place) -> None:
    verified = made(place)
    (place.final.parent / place.part).unlink()
    with pytest.raises(DownloadError) as caught:
        asyncio.run(publish(place, verified))
    assert (caught.value.reason, caught.value.final) == ("part-gone", False)
    assert asyncio.run(is_published(place, verified.sha256, verified.size)) is False


def test_without_hard_links_nothing_is_overwritten_either(place: Place) -> None:
    from batchswap.downloads.places import opened
    from batchswap.downloads.publishing import _rename

    verified = made(place)
    place.final.write_text("mine")
    with opened(place) as folder:
        with pytest.raises(DownloadError, match="is another file"):
            _rename(folder, place, verified)
        place.final.unlink()
        _rename(folder, place, verified)
    assert asyncio.run(is_published(place, verified.sha256, verified.size)) is True
    assert asyncio.run(is_published(place, "0" * 64, verified.size)) is False


def test_downloads_side_by_side(tmp_path: Path) -> None:
    def choose(request: Request) -> Act:
        return media(MOVIE, etag=f'"{request.path}"')

    async def main() -> None:
        async with Scripted(choose=choose) as server, Downloader(allow_private=True) as downloader:

            async def one(number: int) -> None:
                place = Place(tmp_path, f"{number % 3}/{number}.mp4")
                await publish(place, await downloader.fetch(f"{server.url}/{number}", place, kind="video"))
                assert place.final.read_bytes() == MOVIE

            async with asyncio.TaskGroup() as group:
                for number in range(12):
                    group.create_task(one(number))

    asyncio.run(main())
