"""`check --media` examines each input once before anything is paid, and every fault has its own message."""

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from batchswap.operations import provider
from tests.cli.conftest import Place, call
from tests.cli.quick import png
from tests.http.local import in_thread
from tests.http.samples import movie, picture

HEADER = "id,video,image,face,face_0,face_3\n"


@pytest.fixture
def faceless(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place without the local engine, where `check` does not look for faces."""
    monkeypatch.setenv("CRUN_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(provider, "check_engine", lambda: ["this needs mediapipe"])
    return place


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(folder: Path) -> Iterator[str]:
    """Yield the URL of a web server for a folder."""
    with in_thread(ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("url", ["https://api..example", "https://api.example:99999", "http://api.example"])
def test_a_base_url_that_no_run_would_take_is_refused(faceless: Place, url: str) -> None:
    Path("m.csv").write_text(HEADER + "a,https://cdn.example/v.mp4,,https://cdn.example/f.png,,\n")
    done = call("check", "m.csv", "--media", "--base-url", url)
    assert (done.exit_code, done.stderr.startswith("batchswap: the base URL")) == (2, True), done.stderr


def test_good_files_pass_and_are_counted_once(faceless: Place) -> None:
    Path("still.png").write_bytes(png(8, 8))
    faceless.video("v.mp4")
    Path("m.csv").write_text(HEADER + "a,v.mp4,,face.png,,\nb,v.mp4,,face.png,,\nc,,still.png,face.png,,\n")
    done = call("check", "m.csv", "--media", "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["batches"] == {"m": 3}
    assert said["media"] == {"files": 3, "urls": 0, "faces": 0, "targets": 0, "seconds": 0.5}
    assert "the targets and face pictures are not checked for faces: this needs mediapipe" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (movie()[:-50], "v.mp4 is not a complete video: "),
        (picture(".png"), "v.mp4 is an image, not a video"),
        (b"<html>not here", "v.mp4 is HTML or XML, not a video"),
        (b"hello, world, hello", "v.mp4 is of an unknown format, not a video"),
        (bytes(2000) + movie(), "more than --max-upload allows (2,000)"),
    ],
)
def test_a_bad_file_is_reported(faceless: Place, content: bytes, words: str) -> None:
    Path("v.mp4").write_bytes(content)
    Path("m.csv").write_text("# a comment\nid,video,face\na,v.mp4,face.png\nb,v.mp4,face.png\n")
    assert call("check", "m.csv").exit_code == 0
    limit = "2000" if "max-upload" in words else "1MB"
    done = call("check", "m.csv", "--media", "--max-upload", limit)
    assert done.exit_code == 2
    problems = [line for line in done.stderr.splitlines() if "m.csv:3: video: " in line]
    assert len(problems) == 1
    assert words in problems[0]


FTYP = b"\0\0\0\x18ftyp"


@pytest.mark.parametrize(
    ("video", "face"),
    [
        (b"\x47" + bytes(187) + b"\x47" + bytes(187), b"BM" + bytes(60)),
        (b"FLV\1\5\0\0\0\x09" + bytes(60), b"II*\0\x08\0\0\0" + bytes(60)),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(60), b"MM\0*" + bytes(60)),
        (b"OggS" + bytes(60), b"GIF89a" + bytes(60)),
        (b"\0\0\1\xba" + bytes(60), b"GIF87a" + bytes(60)),
        (b"RIFF" + bytes(4) + b"AVI LIST" + bytes(60), b"BM" + bytes(60)),
        (b"\0\0\0\x08wide" + bytes(60), b"BM" + bytes(60)),
        (b"GIF89a" + bytes(60), b"BM" + bytes(60)),
    ],
)
def test_files_that_players_accept_are_left_to_the_provider(faceless: Place, video: bytes, face: bytes) -> None:
    Path("v.mp4").write_bytes(video)
    Path("face.png").write_bytes(face)
    Path("m.csv").write_text("id,video,face\na,v.mp4,face.png\n")
    done = call("check", "m.csv", "--media")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("brands", "name"),
    [(b"heic\0\0\0\0mif1heic", "HEIC"), (b"mif1\0\0\0\0mif1avif", "AVIF"), (b"msf1\0\0\0\0hevcheic", "HEIC")],
)
def test_a_phones_picture_is_named(faceless: Place, brands: bytes, name: str) -> None:
    Path("face.jpg").write_bytes(FTYP + brands + bytes(99))
    faceless.video("v.mp4")
    Path("m.csv").write_text("id,video,face\na,v.mp4,face.jpg\n")
    done = call("check", "m.csv", "--media", "--json")
    assert done.exit_code == 0, done.stderr
    assert [each["message"] for each in json.loads(done.stdout)["remarks"]] == [
        f"face.jpg is a {name} picture: export it as JPEG if it is refused"
    ]
    Path("m.csv").write_text("id,video,face\na,face.jpg,face.jpg\n")
    assert "video: face.jpg is an image, not a video" in call("check", "m.csv", "--media").stderr


def test_a_still_and_a_face_must_be_pictures(faceless: Place) -> None:
    faceless.video("v.mp4")
    Path("m.csv").write_text(HEADER + "a,,v.mp4,face.png,,\nb,v.mp4,,v.mp4,,\n")
    done = call("check", "m.csv", "--media", "--json")
    assert done.exit_code == 2
    found = [(each["line"], each["field"], each["message"]) for each in json.loads(done.stdout)["problems"]]
    assert found == [
        (2, "image", "v.mp4 is a video, not an image"),
        (3, "face", "v.mp4 is a video, not an image"),
    ]


def test_urls_are_requested(faceless: Place) -> None:
    faceless.video("v.mp4")
    Path("page.html").write_text("<html>")
    with site(faceless.folder) as url:
        Path("m.csv").write_text(
            f"id,video,face\na,{url}/v.mp4?sig=SECRET,{url}/face.png\nb,{url}/no.mp4?sig=SECRET,{url}/page.html\n"
        )
        done = call("check", "m.csv", "--media")
        assert done.exit_code == 2
        said = [line for line in done.stderr.splitlines() if "m.csv:" in line]
        assert said == [
            f"batchswap: m.csv:3: video: {url}/no.mp4?… cannot be fetched: HTTP 404",
            f"batchswap: m.csv:3: face: {url}/page.html is text/html: a page or a message, not a video or image",
        ]
        assert "SECRET" not in done.output
        far = call("check", "m.csv", "--media", "--base-url", "https://api.invalid")
        assert "127.0.0.1 is not on a public address" in far.stderr
        near = call("check", "m.csv", "--media", "--base-url", "https://api.invalid", "--provider", "local")
        assert "public address" not in near.stderr


def test_errors_of_the_manifest_come_first(faceless: Place) -> None:
    """No file is opened and no URL requested when the rows themselves are wrong. Each fault has its own message."""
    os.mkfifo("pipe.mp4")
    Path("empty.mp4").touch()
    Path("dir.mp4").mkdir()
    faceless.video("v.mp4")
    Path("m.csv").write_text(
        HEADER
        + "a,pipe.mp4,,face.png,,\n"
        + "b,empty.mp4,,face.png,,\n"
        + "c,dir.mp4,,face.png,,\n"
        + "d,gone.mp4,,face.png,,\n"
        + "e,/dev/null,,face.png,,\n"
        + "f,v.mp4,,face.png,face.png,\n"
    )
    Path("m.yaml").write_text("matrix: {video: 'clips/*.mp4', face: face.png}\n")
    done = call("check", "m.csv", "m.yaml", "--media")
    assert done.exit_code == 2
    for words in (
        'm.csv:2: video: is a device, pipe or socket, not a file: "pipe.mp4"',
        'm.csv:3: video: is an empty file: "empty.mp4"',
        'm.csv:4: video: is a folder, not a file: "dir.mp4"',
        'm.csv:5: video: does not exist: "gone.mp4"',
        'm.csv:6: video: is a device, pipe or socket, not a file: "/dev/null"',
        "m.csv:7: face_0: cannot be given together with face: use face, or face_0, face_1, …",
        'm.yaml:1: matrix.video: matches no file: "clips/*.mp4"',
    ):
        assert words in done.stderr, words
