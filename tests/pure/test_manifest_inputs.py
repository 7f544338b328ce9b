"""Valid and invalid inputs: URLs and files."""

import os
import socket
from pathlib import Path

import pytest

from batchswap.errors import Flaw
from batchswap.manifest import Options, Source, check, read
from batchswap.manifest.inputs import ManifestInputs, checked_url
from batchswap.tasks import Model, content_digest
from tests.pure.manifest_texts import F, file_errors, rows_of


def flaw_of(text: str, folder: Path | None = None) -> str:
    with pytest.raises(Flaw) as caught:
        ManifestInputs(str(folder), check_files=folder is not None).checked(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "http://h/",
        "https://h.example.com:8443/a%20b.mp4?sig=a/b@c:d#t=1",
        "http://127.0.0.1:80/x",
        "http://[::1]:8080/x",
        "https://bücher.example/x",
        "https://h?x=1",
        "https://h/ü.mp4",
        "https://h/" + "x" * 2038,
    ],
)
def test_urls_that_are_accepted_unchanged(url: str) -> None:
    assert checked_url(url) == url


URLS = [
    ("https://", "is a URL without a host"),
    ("https:///x.mp4", "is a URL without a host"),
    ("http://:80/x", "is a URL without a host"),
    ("http://?x", "is a URL without a host"),
    ("http://h:0/x", "is a URL with a malformed host or port"),
    ("http://h:65536/x", "is a URL with a malformed host or port"),
    ("http://h:8o/x", "is a URL with a malformed host or port"),
    ("http://[::1/x", "is a URL with a malformed host or port"),
    ('http://h"x/', "is a URL with a malformed host or port"),
    ("https://h/a b.mp4", 'is a URL with a space or a control character in it: "https://h/a b.mp4"'),
    ("https://h /x", "is a URL with a space or a control character"),
    ("https://h/a\nb", 'is a URL with a space or a control character in it: "https://h/a\\x0ab"'),
    ("https://h/\u202ex", "is a URL with a space or a control character"),
    ("https://h/\ud800", "is a URL with a space or a control character"),
    ("https://user:secret@h/x?sig=hidden", "is a URL with a user name or password, which would be stored and"),
    ("https://user@h/x", "is a URL with a user name or password"),
    ("https://h/" + "x" * 2039, "is a URL of 2,049 characters; at most 2,048 are allowed"),
    ("ftp://h/x", "has the scheme ftp:"),
    ("s3://bucket/x", "has the scheme s3:"),
    ("FILE:///etc/passwd", "has the scheme file:"),
    ("file:/etc/passwd", "has the scheme file:"),
    ("javascript:alert(1)", "has the scheme javascript:"),
    ("data:image/png;base64,AAAA", "is a data: URI; give an http(s) URL, or a file"),
    ("QUJD" * 400, "looks like Base64"),
    ("x./" * 400, "has 1,200 characters, which is too long for a path"),
    ("a\x00b", "has a control or invisible character (U+0000)"),
    ("a\nb", "has a control or invisible character (U+000A)"),
    ("“https://h/a.mp4”", 'has “…” around the URL: "“https://h/a.mp4”"; write the URL alone'),
    ("„https://h/a.mp4?sig=hidden“", 'has „…“ around the URL: "„https://h/a.mp4?…"; write the URL alone'),
    ('"https://h/a.mp4"', 'has "…" around the URL: ""https://h/a.mp4""; write the URL alone'),
    ("<https://h/a.mp4>", 'has <…> around the URL: "<https://h/a.mp4>"; write the URL alone'),
    ("'https://h/a.mp4", "has '… around the URL: \"'https://h/a.mp4\"; write the URL alone"),
    ("[clip](https://h/a.mp4)", 'has […) around the URL: "[clip](https://h/a.mp4)"; write the URL alone'),
    ("https://h/a.mp4”", 'is a URL with ” after it: "https://h/a.mp4”"; write the URL alone'),
    ("https://h/a.mp4>", 'is a URL with > after it: "https://h/a.mp4>"; write the URL alone'),
    ('=HYPERLINK("https://h/a.mp4","clip")', 'is a formula: "=HYPERLINK("https://h/a.mp4","clip")"; write the URL'),
    ("\u200bhttps://h/a.mp4", 'has a control or invisible character (U+200B) in "\\x200bhttps://h/a.mp4"'),
    ("https://h/a.mp4\xa0", "is a URL with a space or a control character in it"),
]


@pytest.mark.parametrize(("text", "sentence"), URLS)
def test_inputs_that_are_refused(text: str, sentence: str) -> None:
    found = flaw_of(text)
    assert found.startswith(sentence)
    assert "secret" not in found
    assert "hidden" not in found
    assert found.isprintable()


def test_a_scheme_in_capitals_is_the_same_scheme() -> None:
    assert ManifestInputs("/", check_files=False).checked("HTTPS://Host/X.mp4") == "https://Host/X.mp4"


@pytest.mark.parametrize(
    ("path", "found"), [("./a/./b//c.mp4", "a/b/c.mp4"), ("../a.mp4", "../a.mp4"), ("/a/b", "/a/b")]
)
def test_paths_are_normalised(path: str, found: str) -> None:
    assert ManifestInputs("/", check_files=False).checked(path) == found


def test_files(tmp_path: Path) -> None:
    (tmp_path / "ok.mp4").write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    assert ManifestInputs(str(tmp_path)).checked("./ok.mp4") == "ok.mp4"
    for name, sentence in {
        "no.mp4": f'does not exist: "no.mp4" (looked in "{tmp_path}")',
        "./a//b.mp4": 'does not exist: "./a//b.mp4" (looked in',
        "“ok.mp4”": f'does not exist: "“ok.mp4”" (remove “…” around it; looked in "{tmp_path}")',
        "OK.mp4": 'does not exist: "OK.mp4" ("ok.mp4" exists: check upper and lower case)',
        "ok.mp4/x": 'does not exist: "ok.mp4/x"',
        "gone.mp4": 'does not exist: "gone.mp4"',
        "loop.mp4": 'cannot be read: "loop.mp4" (Too many levels of symbolic links)',
        "n" * 300: "cannot be read: ",
        "folder": 'is a folder, not a file: "folder"',
        ".": 'is a folder, not a file: "."',
        "/dev/null": 'is a device, pipe or socket, not a file: "/dev/null"',
        "pipe": 'is a device, pipe or socket, not a file: "pipe"',
        "socket": 'is a device, pipe or socket, not a file: "socket"',
        "empty.mp4": 'is an empty file: "empty.mp4"',
    }.items():
        assert flaw_of(name, tmp_path).startswith(sentence)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "mine.mp4").write_bytes(b"x")
    (tmp_path / "mine.mp4").chmod(0)
    assert flaw_of("mine.mp4", tmp_path) == 'cannot be read: "mine.mp4" (Permission denied)'


def test_a_file_is_checked_once(tmp_path: Path) -> None:
    face = tmp_path / "face.png"
    face.write_bytes(b"x")
    inputs = ManifestInputs(str(tmp_path))
    inputs.checked("face.png")
    face.unlink()
    assert inputs.checked("face.png") == "face.png"


def test_paths_start_from_the_manifest_and_errors_name_its_lines(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x")
    manifest = folder / "m.csv"
    manifest.write_text(f"video,face\na.mp4,{F}\nb.mp4,{F}\na.mp4,c.png\n")
    found = file_errors(manifest)
    assert [error.partition(" (")[0] for error in found] == [
        f'{manifest}:3: video: does not exist: "b.mp4"',
        f'{manifest}:4: face: does not exist: "c.png"',
    ]
    assert check([Source(str(manifest))], Options(check_files=False)) == {"m": 3}


def test_the_same_path_spelled_differently_is_the_same_row() -> None:
    first, second = rows_of(f"id,video,face\na,./x//y.mp4,{F}\nb,x/y.mp4,{F}\n")
    assert first.digest == second.digest


NFC, NFD = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize(("written", "there"), [(NFC, NFD), (NFD, NFC)])
def test_a_file_is_found_however_its_letters_are_composed(tmp_path: Path, written: str, there: str) -> None:
    """The row has the file's actual name. Its digest and key are those of the path as written in the manifest."""
    (tmp_path / there).mkdir()
    (tmp_path / there / f"{there}.jpg").write_bytes(b"x")
    manifest = tmp_path / "m.csv"
    path = f"{written}/{written}.jpg"
    manifest.write_text(f"image,face,face_3\n{path},{path},\n./{path},,{path}\n")
    first, second = (row for chunk in read([Source(str(manifest))]) for row in chunk.rows)
    real = f"{there}/{there}.jpg"
    assert (first.target, first.face, second.target, second.faces) == (real, real, real, ((3, real),))
    assert first.key == first.digest == content_digest(Model.IMAGE, path, path)
    assert second.digest == content_digest(Model.IMAGE_MULTI, path, "", ((3, path),))


def test_of_several_files_that_differ_in_composition_none_is_taken(tmp_path: Path) -> None:
    for name in ("\u1e69", "s\u0323\u0307"):
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    assert flaw_of("\u1e63\u0307.jpg", tmp_path).startswith("does not exist: ")
