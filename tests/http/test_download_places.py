"""A result is stored below --out and nowhere else."""

import asyncio
import os
from functools import partial
from pathlib import Path

import pytest

from batchswap.downloads import Downloader, Place, publish
from batchswap.downloads.filesystem import Traits
from batchswap.downloads.fsync_batch import Filing
from batchswap.downloads.output_paths import _enter
from batchswap.downloads.part_file import PartFile
from batchswap.downloads.resume import BodyPlan
from batchswap.errors import DownloadError
from tests.http.fetches import MOVIE, TARGET, failed, fetched, listed, run
from tests.http.scripted import Scripted
from tests.http.scripted_replies import media


@pytest.mark.parametrize("output", ["", ".", "..", "../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "a/b\0c.mp4"])
def test_a_place_outside_is_final_and_creates_nothing(tmp_path: Path, output: str) -> None:
    (tmp_path / "results").mkdir()

    async def talk(downloader: Downloader, server: Scripted) -> None:
        with pytest.raises(DownloadError) as caught:
            await downloader.fetch(server.url + TARGET, Place(tmp_path / "results", output), kind="video")
        assert (caught.value.reason, caught.value.final) == ("outside", True)
        assert server.requests == []

    run(talk)
    assert listed(tmp_path) == ["results"]


def test_a_symlink_that_leads_outside_is_final_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results" / "out").symlink_to(tmp_path / "elsewhere")
    error, _ = failed(Place(tmp_path / "results", "out/x.mp4"), media(MOVIE))
    assert (error.reason, error.final) == ("outside", True)
    assert listed(tmp_path / "elsewhere") == []


def test_a_file_that_appears_in_place_of_the_part_is_not_mixed_with_it(place: Place) -> None:
    part = PartFile(place, "https://h/x")
    part.open_if_begun()
    place.final.parent.mkdir(parents=True)
    (place.final.parent / place.part).write_bytes(b"another's" * len(MOVIE))
    part.expect(BodyPlan("write", 0, "", len(MOVIE)))
    part.held += MOVIE
    assert part.verify("video").size == len(MOVIE)
    part.close()
    assert (place.final.parent / place.part).read_bytes() == MOVIE


def test_a_symlink_that_stays_inside_is_followed(tmp_path: Path) -> None:
    (tmp_path / "results" / "real").mkdir(parents=True)
    (tmp_path / "results" / "link").symlink_to("real")

    async def talk(downloader: Downloader, server: Scripted) -> None:
        place = Place(tmp_path / "results", "link/x.mp4")
        await publish(place, await downloader.fetch(server.url + TARGET, place, kind="video"))

    run(talk, media(MOVIE))
    assert (tmp_path / "results" / "real" / "x.mp4").read_bytes() == MOVIE


def test_a_symlink_that_appears_later_is_not_followed(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    async def talk(downloader: Downloader, server: Scripted) -> None:
        verified = await downloader.fetch(server.url + TARGET, place, kind="video")
        place.final.parent.rename(tmp_path / "results" / "moved")
        place.final.parent.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DownloadError, match="is not a path below"):
            await publish(place, verified)

    run(talk, media(MOVIE))
    assert listed(tmp_path / "elsewhere") == []


def test_a_symlink_that_appears_between_the_check_and_the_use_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(NotADirectoryError):
            _enter(folder, "link", Traits())
    finally:
        os.close(folder)


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


def test_a_file_in_place_of_a_folder_is_reported(place: Place) -> None:
    place.out.mkdir()
    (place.out / "spring").write_text("a file")
    error, _ = failed(Place(place.out, "spring/x.mp4"), media(MOVIE))
    assert (error.reason, error.final) == ("disk", False)


def test_long_names_have_parts_too(tmp_path: Path) -> None:
    place = Place(tmp_path, "ü" * 125 + ".mp4")
    fetched(place, media(MOVIE, keep=900_000), media(MOVIE))


def test_one_process_at_a_time_holds_a_part(place: Place) -> None:
    other = PartFile(place, "https://h/x")
    other.open()
    try:
        error, server = failed(place, media(MOVIE))
        assert (error.reason, error.final, server.requests) == ("busy", False, [])
    finally:
        other.close()
    fetched(place, media(MOVIE))


def test_a_note_of_other_bytes_does_not_outlive_them(place: Place) -> None:
    """A file that is written at once has no note: after a crash, it must not be left with another file's note."""
    place.final.parent.mkdir(parents=True)
    note = place.final.parent / place.note
    note.write_text("of an earlier try")
    part = PartFile(place, "https://h/x")
    part.expect(BodyPlan("write", 0, "", len(MOVIE)))
    part.held += MOVIE
    asyncio.run(Filing().do(partial(part.write, "video")))
    assert not note.exists()


def test_what_comes_to_stand_in_the_place_of_a_small_part_meanwhile_is_left_to_the_next_try(place: Place) -> None:
    part = PartFile(place, "https://h/x")
    part.open_if_begun()
    place.final.parent.mkdir(parents=True)
    (place.final.parent / place.part).write_bytes(b"another's")
    part.expect(BodyPlan("write", 0, "", len(MOVIE)))
    part.held += MOVIE
    with pytest.raises(DownloadError) as caught:
        asyncio.run(Filing().do(partial(part.write, "video")))
    part.close()
    assert (caught.value.reason, caught.value.final) == ("busy", False)
    assert (place.final.parent / place.part).read_bytes() == b"another's"
    fetched(place, media(MOVIE))
