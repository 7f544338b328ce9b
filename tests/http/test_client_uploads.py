"""A file is uploaded unchanged, completely or not at all, and without the key."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from batchswap.client import Answer, Client
from batchswap.clock import SystemClock
from batchswap.errors import InputGone, MaybeSent, WireError
from tests.http import scripted_replies
from tests.http.asking import HASTY, KEY, SIGNED, answered, ask
from tests.http.scripted import Act, Exchange, Scripted
from tests.http.scripted_replies import reply


def upload(path: Path, target: str = SIGNED) -> Callable[[Client], Awaitable[Answer]]:
    return lambda client: client.put_file(client._base + target, path, "video/mp4")


def test_a_file_is_streamed_unchanged_and_without_the_key(tmp_path: Path) -> None:
    content = os.urandom(700_000)
    (tmp_path / "v.mp4").write_bytes(content)
    target = "/bucket/a%2Fb.mp4?X-Sig=a%2Bb%2f==&x=%E2%82%AC"
    answer, server = answered(upload(tmp_path / "v.mp4", target), reply(200))
    assert answer.status == 200
    [request] = server.requests
    assert (request.method, request.target) == ("PUT", target), "the signed URL is sent byte for byte"
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["content-length"] == str(len(content))
    assert "transfer-encoding" not in request.headers
    assert request.body == content
    assert KEY not in str(request.headers)


def test_an_early_refusal_of_the_storage_is_read(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x" * 1000)
    answer, _ = answered(upload(tmp_path / "v.mp4"), reply(403, body=b"<Error/>"))
    assert (answer.status, answer.is_envelope) == (403, False)


def test_a_storage_with_an_impossible_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")

    async def main() -> None:
        async with Client("https://api.example", KEY, SystemClock()) as client:
            for host in ("store..example", "s" * 64 + ".example"):
                with pytest.raises(WireError):
                    await client.put_file(f"https://{host}/put?X-Signature=SIGNATURE", tmp_path / "v.mp4", "video/mp4")

    asyncio.run(main())


@pytest.mark.parametrize(
    "act", [scripted_replies.reset(early=True), scripted_replies.close(early=True), scripted_replies.stall(early=True)]
)
def test_an_upload_that_breaks_or_stalls_is_one_request(tmp_path: Path, act: Act) -> None:
    with (tmp_path / "v.mp4").open("wb") as file:
        file.truncate(32 * 1024**2)  # larger than the sockets' buffers
    found, server = asyncio.run(ask(upload(tmp_path / "v.mp4"), then=act, timeouts=HASTY))
    assert isinstance(found, MaybeSent)
    assert len(server.requests) == 1


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_during_its_upload_never_arrives_complete(tmp_path: Path, change: str) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"a" * 32 * 1024**2)
    arrived = 0

    async def meddle(exchange: Exchange) -> bool:
        nonlocal arrived
        arrived += len(await exchange.reader.readexactly(1024))
        match change:
            case "grow":
                with path.open("ab") as file:
                    file.write(b"more")
            case "shrink":
                os.truncate(path, 20 * 1024**2)
            case _:
                with path.open("r+b") as file:
                    file.write(b"b")
                os.utime(path, (1, 1))
        while data := await exchange.reader.read(2**20):
            arrived += len(data)
        return False

    async def main() -> None:
        async with Scripted(Act(meddle, early=True)) as server, Client(server.url, KEY, SystemClock()) as client:
            with pytest.raises(InputGone, match="changed while it was uploaded"):
                await client.put_file(server.url + SIGNED, path, "video/mp4")
            assert len(server.requests) == 1

    asyncio.run(main())
    assert arrived < 32 * 1024**2


def test_only_regular_files_are_uploaded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()

    async def main(path: Path) -> None:
        async with Scripted() as server, Client(server.url, KEY, SystemClock()) as client:
            with pytest.raises(InputGone):
                await client.put_file(server.url + SIGNED, path, "video/mp4")
            assert server.connections == 0

    for name in ("missing", "empty", "pipe", ".", "nul\0"):
        asyncio.run(main(tmp_path / name))


def test_a_file_is_not_sent_unencrypted_over_the_network(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client("https://api.crun.ai", KEY, SystemClock()) as client:
            with pytest.raises(WireError, match="neither a valid https URL"):
                await client.put_file("http://store.example/x?sig=1", tmp_path, "video/mp4")

    asyncio.run(main())
