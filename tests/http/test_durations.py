"""The lengths of movies, read from files of common libraries and from damaged ones."""

import struct
from pathlib import Path

import pytest

from batchswap.downloads import movie_seconds
from tests.http.samples import VIDEOS, video


@pytest.mark.parametrize("name", ["mp4", "mp4 with moov first", "mov"])
def test_six_frames_at_twelve_a_second(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(video(name)[0])
    assert movie_seconds(path) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", sorted(VIDEOS))
def test_a_cut_file_is_never_an_error(tmp_path: Path, name: str) -> None:
    whole = video(name)[0]
    path = tmp_path / "clip.mp4"
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:end])
        found = movie_seconds(path)
        assert found is None or found == pytest.approx(0.5, abs=0.01)


def boxed(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


@pytest.mark.parametrize(
    ("moov", "seconds"),
    [
        (boxed(b"mvhd", b"\1" + bytes(19) + struct.pack(">IQ", 600, 600 * 90)), 90.0),
        (boxed(b"mvhd", bytes(12) + struct.pack(">II", 600, 0)), None),
        (boxed(b"mvhd", bytes(12) + struct.pack(">II", 0, 600)), None),
        (boxed(b"mvhd", bytes(12) + struct.pack(">II", 1, 0xFFFFFFFF)), None),
        (boxed(b"mvhd", bytes(6)), None),
        (
            boxed(b"mvhd", bytes(12) + struct.pack(">II", 1000, 0))
            + boxed(b"mvex", boxed(b"mehd", bytes(4) + struct.pack(">I", 7000))),
            7.0,
        ),
        (b"", None),
    ],
)
def test_headers(tmp_path: Path, moov: bytes, seconds: float | None) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(boxed(b"ftyp", b"isom") + boxed(b"moov", moov))
    assert movie_seconds(path) == seconds


def test_other_files_have_no_length(tmp_path: Path) -> None:
    assert movie_seconds(tmp_path) is None
    assert movie_seconds(tmp_path / "nowhere") is None
