"""Inputs that are URLs: each content is downloaded once, within a limit and by the rules of the downloads."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from batchswap.delivery import inputs
from batchswap.delivery.inputs import InputFiles
from tests.http.fetches import MOVIE
from tests.http.scripted import Act, Scripted
from tests.http.scripted_replies import media, raw

Talk = Callable[[InputFiles, str], Awaitable[None]]


def served(talk: Talk, *script: Act, then: Act | None = None, allow_private: bool = True) -> Scripted:
    async def main() -> Scripted:
        async with Scripted(*script, then=then) as server:
            files = InputFiles(allow_private=allow_private, min_free=0)
            try:
                await talk(files, f"{server.url}/target.mp4?X-Signature=SIGNATURE")
            finally:
                await files.close()
        return server

    return asyncio.run(main())


def digest(path: Path | None) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


def test_two_tasks_with_one_target_download_it_once_and_nothing_is_left() -> None:
    seen: list[Path] = []

    async def talk(files: InputFiles, url: str) -> None:
        async def use() -> None:
            async with files.use(url, "video") as (path, problem):
                assert (digest(path), problem) == (hashlib.sha256(MOVIE).hexdigest(), "")
                assert path is not None
                seen.append(path)

        await asyncio.gather(use(), use())
        await use()

    server = served(talk, media(MOVIE))
    assert len(server.requests) == 1
    assert "authorization" not in server.requests[0].headers
    assert not any(path.exists() for path in seen)


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (raw(b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n"), "it cannot be downloaded (gone)"),
        (media(b"<!DOCTYPE html><title>Log in</title>"), "it cannot be downloaded (not-media)"),
    ],
)
def test_a_url_that_gives_no_media_has_a_reason_without_the_url(act: Act, problem: str) -> None:
    async def talk(files: InputFiles, url: str) -> None:
        async with files.use(url, "video") as found:
            assert found == (None, problem)

    served(talk, act)


def test_an_input_beyond_the_limit_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LARGEST", 1000)

    async def talk(files: InputFiles, url: str) -> None:
        async with files.use(url, "video") as found:
            assert found == (None, "it is larger than 1,000 bytes")

    served(talk, media(MOVIE))


def test_a_private_address_is_refused_before_anything_is_sent() -> None:
    async def talk(files: InputFiles, url: str) -> None:
        async with files.use(url, "video") as found:
            assert found == (None, "it cannot be downloaded (private-address)")

    assert served(talk, allow_private=False).requests == []


def test_the_oldest_downloads_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "KEPT", len(MOVIE) + 10)

    async def talk(files: InputFiles, url: str) -> None:
        async with files.use(url, "video") as (first, _):
            pass
        async with files.use(f"{url}&n=2", "video") as (second, _):
            assert first is not None
            assert second is not None
            assert first.exists()
            async with files.use(f"{url}&n=3", "video"):
                pass
            assert (first.exists(), second.exists()) == (False, True), "the second one is in use"

    served(talk, then=media(MOVIE))
