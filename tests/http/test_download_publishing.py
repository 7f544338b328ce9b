"""The final name: it never replaces another file, is never incomplete, and can be given again after a crash."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from batchswap.downloads import Downloader, Place, is_published, publish
from batchswap.downloads.filesystem import Traits
from batchswap.downloads.output_paths import opened
from batchswap.downloads.publish import _name
from batchswap.errors import DownloadError
from tests.http import scripted_replies
from tests.http.fetches import (
    HTML,
    MOVIE,
    SIZE,
    TARGET,
    listed,
    made,
    run,
)
from tests.http.samples import movie
from tests.http.scripted import Act, Request, Scripted
from tests.http.scripted_replies import media, reply


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
def test_anything_but_a_regular_file_is_foreign(place: Place, tmp_path: Path, kind: str) -> None:
    verified = made(place)
    if kind == "folder":
        place.final.mkdir()
    else:
        (tmp_path / "copy").write_bytes(MOVIE)
        place.final.symlink_to(tmp_path / "copy")
    with pytest.raises(DownloadError, match="is another file"):
        asyncio.run(publish(place, verified))


def test_the_former_result_of_the_task_is_replaced(place: Place) -> None:
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


def test_invariant_5_nor_without_a_known_length(place: Place) -> None:
    async def talk(downloader: Downloader, server: Scripted) -> None:
        await downloader.fetch(server.url + TARGET, place, kind="video")
        os.link(place.final.parent / place.part, place.final)
        with pytest.raises(DownloadError):
            await downloader.fetch(server.url + TARGET, place, kind="video")
        assert place.final.read_bytes() == MOVIE

    run(talk, scripted_replies.chunked(MOVIE, size=70_000, headers={"ETag": '"v1"'}), media(b"evil" + MOVIE))


def test_a_missing_part_is_downloaded_again(place: Place) -> None:
    verified = made(place)
    (place.final.parent / place.part).unlink()
    with pytest.raises(DownloadError) as caught:
        asyncio.run(publish(place, verified))
    assert (caught.value.reason, caught.value.final) == ("part-gone", False)
    assert asyncio.run(is_published(place, verified.sha256, verified.size)) is False


def test_without_hard_links_nothing_is_overwritten_either(place: Place) -> None:
    verified = made(place)
    unlinked = msgspec.structs.replace(place, traits=Traits(has_links=False))
    place.final.write_text("mine")
    with opened(place) as folder:
        with pytest.raises(DownloadError, match="is another file"):
            _name(folder, unlinked, verified)
        place.final.unlink()
        _name(folder, unlinked, verified)
    assert asyncio.run(is_published(place, verified.sha256, verified.size)) is True
    assert asyncio.run(is_published(place, "0" * 64, verified.size)) is False


def test_concurrent_downloads(tmp_path: Path) -> None:
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


FETCH_AND_PUBLISH = """
import asyncio, sys
from functools import partial
from pathlib import Path
from batchswap.downloads import Place, publish
from batchswap.downloads.fsync_batch import Filing
from batchswap.downloads.part_file import PartFile
from batchswap.downloads.resume import BodyPlan

filing, body, count = Filing(), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
places = [Place(Path(sys.argv[1]), f"{number}.mp4") for number in range(count)]

def arrive(place):
    part = PartFile(place, "https://h/x.mp4")
    part.expect(BodyPlan("write", 0, "", len(body)))
    part.held += body
    return part

async def main():
    parts = [arrive(place) for place in places]
    verified = await asyncio.gather(*(filing.do(partial(part.write, "video")) for part in parts))
    await asyncio.gather(*map(partial(publish, filing=filing), places, verified))

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows what reaches the kernel")
@pytest.mark.parametrize("count", [1, 3])
def test_files_and_folder_are_on_disk_before_the_next_step(tmp_path: Path, count: int) -> None:
    (tmp_path / "film").write_bytes(movie())
    script = [sys.executable, "-c", FETCH_AND_PUBLISH, str(tmp_path / "out"), str(tmp_path / "film"), str(count)]
    watch = ["strace", "-f", "-y", "-qq", "-e", "trace=fsync,linkat,unlinkat", "-o", str(tmp_path / "calls")]
    if subprocess.run([*watch, "true"], check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("this machine forbids tracing")
    subprocess.run([*watch, *script], check=True, timeout=60)
    seen = [line.split(maxsplit=1)[1] for line in (tmp_path / "calls").read_text().splitlines() if "/out" in line]
    each = range(count)
    writing = [("unlinkat", f".{n}.mp4.part.json") for n in each] + [("fsync", f"/.{n}.mp4.part>") for n in each]
    naming = [("linkat", f'"{n}.mp4"') for n in each] + [("fsync", "/out>")]  # one sync of the folder for all
    clearing = [("unlinkat", f'".{n}.mp4.part{ending}"') for n in each for ending in ("", ".json")]
    assert [line[: line.index("(")] for line in seen] == [name for name, _ in writing + naming + clearing]
    assert all(text in line for line, (_, text) in zip(seen, writing + naming + clearing, strict=True)), seen
