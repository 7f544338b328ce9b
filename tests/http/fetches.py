"""Shared by the tests of the downloads: one movie, one place, and a scripted media host."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from batchswap.downloads import Downloader, Place, Verified, publish
from batchswap.errors import DownloadError
from tests.http.samples import movie
from tests.http.scripted import Act, Exchange, Scripted, head
from tests.http.scripted_replies import media

MOVIE = movie() + (2_000_008).to_bytes(4, "big") + b"free" + bytes(2_000_000)
"""Large enough to arrive in many pieces."""
SIZE = len(MOVIE)
DIGEST = hashlib.sha256(MOVIE).hexdigest()
HTML = b"<!DOCTYPE html><title>Not here</title>"
TARGET = "/results/v.mp4?X-Signature=SIGNATURE"

Talk = Callable[[Downloader, Scripted], Awaitable[None]]


def run(talk: Talk, *script: Act, then: Act | None = None, **options: Any) -> Scripted:
    async def main() -> Scripted:
        given = {"allow_private": True, "stall": 30.0, **options}
        async with Scripted(*script, then=then) as server, Downloader(**given) as downloader:
            await talk(downloader, server)
        return server

    return asyncio.run(main())


def fetched(place: Place, *script: Act, **options: Any) -> Scripted:
    """Download until it works, at most once per act, and publish. The final file must be MOVIE."""

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
    assert listed(place.final.parent) == [place.name], "no other file is left"
    return server


def fetched_in_two(place: Place, meddle: Callable[[], object], *script: Act, **options: Any) -> Scripted:
    """Break the first download, call `meddle`, and download again from the same host."""

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + TARGET, place, kind="video")
        assert held(place) > 0
        meddle()
        verified = await downloader.fetch(server.url + TARGET, place, kind="video")
        assert verified.sha256 == DIGEST

    return run(talk, *script, **options)


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
    """Return the number of bytes in the part."""
    part = place.final.parent / place.part
    return part.stat().st_size if part.exists() else 0


def partial(**headers: str) -> Act:
    """Answer a Range with a 206 and these headers."""

    async def do(exchange: Exchange) -> bool:
        await exchange.send(head(206, {"Content-Length": "4", **{k.replace("_", "-"): v for k, v in headers.items()}}))
        await exchange.send(b"evil")
        return True

    return Act(do)


def made(place: Place) -> Verified:
    """Make a verified part in its place."""
    found: list[Verified] = []

    async def talk(downloader: Downloader, server: Scripted) -> None:
        found.append(await downloader.fetch(server.url + TARGET, place, kind="video"))

    run(talk, media(MOVIE))
    return found[0]
