"""The addresses of media URLs are checked at every hop, where the connection is made."""

import asyncio
import socket

import pytest

from batchswap.downloads import Downloader, Place, is_on_private_address
from batchswap.downloads.address_guard import AddressInfo, SocketFactory, is_public, public_socket
from batchswap.errors import DownloadError, PrivateAddress
from tests.http.fetches import (
    DIGEST,
    MOVIE,
    TARGET,
    failed,
    run,
)
from tests.http.scripted import Scripted
from tests.http.scripted_replies import media, redirect, reply


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


def test_endless_redirects_fail(place: Place) -> None:
    error, server = failed(place, then=redirect("/again"))
    assert (error.reason, error.final, len(server.requests)) == ("redirects", False, 6)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/", "http://[oops", "http://u:p@127.0.0.1/"])
def test_a_redirect_to_something_else_is_not_followed(place: Place, location: str) -> None:
    error, server = failed(place, redirect(location))
    assert (error.reason, len(server.requests)) == ("bad-url", 1)


@pytest.mark.parametrize("host", ["cdn..example", ".example", "c" * 64 + ".example"])
def test_an_impossible_host_name_ends_the_download_and_not_the_run(place: Place, host: str) -> None:
    error, server = failed(place, redirect(f"http://{host}/v.mp4"))
    assert (error.reason, len(server.requests)) == ("bad-url", 1)

    async def talk(downloader: Downloader, _: Scripted) -> None:
        for asking in (
            downloader.look(f"http://{host}/v.mp4"),
            downloader.fetch(f"http://{host}/v", place, kind="video"),
        ):
            with pytest.raises(DownloadError) as caught:
                await asking
            assert (caught.value.reason, caught.value.final) == ("bad-url", True)

    run(talk)


def allow(*answers: bool) -> SocketFactory:
    """A guard that considers this machine public: its answers to one connection after the other."""
    left = list(answers)

    def guard(info: AddressInfo) -> socket.socket:
        return socket.socket(*info[:3]) if left.pop(0) else public_socket(info)

    return guard


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_the_address_of_every_hop_is_checked(place: Place, host: str) -> None:
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
        ("192.0.0.1", False),
        ("192.0.0.9", False),
        ("192.0.0.170", False),
        ("192.0.1.1", True),
        ("192.88.99.1", False),
        ("192.31.195.1", True),
        ("198.51.100.1", False),
        ("203.0.113.1", False),
        ("::ffff:192.0.0.1", False),
        ("::ffff:0:8.8.8.8", False),
        ("::8.8.8.8", False),
        ("64:ff9b::c000:1", False),
        ("64:ff9b::a00:1", False),
        ("100::1", False),
        ("2001:2::1", False),
        ("2001:20::1", False),
        ("2001:1ff::1", False),
        ("2001:200::1", True),
        ("2002:808:808::1", False),
        ("3fff::1", False),
        ("4000::1", False),
        ("5f00::1", False),
        ("2606:4700::5efe:a00:1", False),
        ("2606:4700::200:5efe:7f00:1", False),
        ("2606:4700::5efe:808:808", True),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("address", ["2130706433", "127.1", "0x7f000001", "localhost", ""])
def test_an_address_in_an_old_notation_is_refused(address: str) -> None:
    with pytest.raises(PrivateAddress):
        public_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_whether_the_api_is_on_a_private_address() -> None:
    assert asyncio.run(is_on_private_address("http://localhost:1")) is True
    assert asyncio.run(is_on_private_address("https://127.0.0.1")) is True
    assert asyncio.run(is_on_private_address("https://8.8.8.8")) is False
    assert asyncio.run(is_on_private_address("https://name.invalid")) is False
