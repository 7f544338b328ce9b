"""`batchswap faces` lists the faces of a target for the author of a manifest."""

import json
from pathlib import Path

import pytest
import yaml

from batchswap.cli.commands.faces import kind_of, own_folder
from batchswap.downloads import picture_size
from batchswap.errors import MissingExtra
from batchswap.local import engine
from tests.cli.conftest import Place, call, work
from tests.cli.quick import png
from tests.http.samples import picture


def test_ids_sizes_and_pictures(shop: Place) -> None:
    done = call("faces", shop.video("duo.mp4"))
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["face", "0", "1"]
    assert "40 x 50" in lines[1]
    assert "faces/duo/face-1.png" in lines[2]
    assert Path("faces/duo/face-0.png").read_bytes() == png(40, 50)
    page = Path("faces/duo/faces.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert picture_size(Path("faces/duo/faces.png")) is not None
    assert "contact sheet: faces/duo/faces.html, faces/duo/faces.png" in done.stderr


def test_json_is_one_document(shop: Place) -> None:
    said = json.loads(call("faces", shop.video("duo.mp4"), "--json", "--out", "who").stdout)
    assert said["target"] == "duo.mp4"
    assert said["faces"][1] == {"id": 1, "picture": "who/duo/face-1.png", "width": 41, "height": 50}
    assert said["sheets"] == ["who/duo/faces.html", "who/duo/faces.png"]


def test_the_yaml_is_a_row_to_fill_in_which_then_runs(shop: Place) -> None:
    text = call("faces", shop.video("du: o'#.mp4"), "--format", "yaml").stdout
    assert yaml.safe_load(text)["tasks"] == [
        {"video": "du: o'#.mp4", "faces": {0: "NEW-FACE-0.jpg", 1: "NEW-FACE-1.jpg"}}
    ]
    Path("duo.yaml").write_text(text)
    unfilled = call("check", "duo.yaml")
    assert unfilled.exit_code == 2
    assert 'does not exist: "NEW-FACE-0.jpg"' in unfilled.stderr
    Path("duo.yaml").write_text("\n".join(line for line in text.splitlines() if "FACE-1" not in line) + "\n")
    Path("NEW-FACE-0.jpg").write_bytes(png(3, 4))
    assert work("duo.yaml").exit_code == 0


def test_a_still_and_a_url(shop: Place) -> None:
    Path("group.png").write_bytes(png(60, 60))
    assert call("faces", "group.png").exit_code == 0
    assert call("faces", "group.png", "--kind", "video").exit_code == 2
    assert [kind_of(name) for name in ("a.MP4", "a.JPG", "https://x/a.webp?sig=b.mp4", "a")] == [
        "video",
        "image",
        "image",
        "video",
    ]


def test_it_can_run_again_but_never_uses_a_foreign_folder(shop: Place) -> None:
    name = shop.video("duo.mp4")
    assert call("faces", name).exit_code == 0
    Path("faces/duo/face-ben.png").write_bytes(b"mine")
    assert call("faces", name).exit_code == 0
    assert Path("faces/duo/face-ben.png").read_bytes() == b"mine"
    Path("faces/duo/faces.html").unlink()
    again = call("faces", name)
    assert again.exit_code == 2
    assert "faces/duo is there already, and this command did not make it" in again.stderr


def test_another_target_of_the_same_name_keeps_its_pictures(shop: Place) -> None:
    targets = [shop.video("duo.mp4"), "sub/duo.mp4", "sub/../sub/duo.mp4"]
    Path("sub").mkdir()
    shop.video("sub/duo.mp4", "another")
    found = [json.loads(call("faces", target, "--json").stdout) for target in targets]
    assert [Path(each["faces"][0]["picture"]).parent.name for each in found] == ["duo", "duo-2", "duo-2"]
    assert all(Path(each["faces"][0]["picture"]).read_bytes() == png(40, 50) for each in found)
    page = Path("faces/duo/faces.html").read_text()
    assert "<h1>Faces of duo.mp4</h1>" in page, page
    assert call("faces", targets[0]).exit_code == 0
    assert sorted(path.name for path in Path("faces").iterdir()) == ["duo", "duo-2"]


def test_targets_that_differ_in_their_query_alone_are_two(tmp_path: Path) -> None:
    first, second = (own_folder(tmp_path, f"https://cdn.example/get.mp4?id={n}") for n in (1, 2))
    assert (first.name, second.name) == ("get", "get-2")
    assert own_folder(tmp_path, "https://cdn.example/get.mp4?id=2") == second
    assert not any("id=" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_folder_of_an_older_version_counts_as_foreign(tmp_path: Path) -> None:
    (tmp_path / "duo").mkdir()
    (tmp_path / "duo/faces.html").write_text("<h1>Faces of duo.mp4</h1>")
    assert own_folder(tmp_path, "duo.mp4") == tmp_path / "duo-2"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere.mp4", "nowhere.mp4: No such file or directory"),
        (".", ". is not a regular file"),
        ("empty.mp4", "empty.mp4 is an empty file"),
        ("https://user:pw@x/a.mp4", "the target is a URL with a user name"),
        ("noface.mp4", "no faces were detected: no face found"),
        ("clip.unheard-of", "unknown file type, rename it to an ending such as"),
    ],
)
def test_every_fault_has_a_message(shop: Place, target: str, words: str) -> None:
    Path("empty.mp4").touch()
    Path("clip.unheard-of").write_bytes(b"x")
    shop.video("noface.mp4", "noface")
    done = call("faces", target)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "pw" not in done.stderr


def test_hostile_names_are_text(shop: Place) -> None:
    name = shop.video("<img src=x onerror=alert(1)>&\"'.mp4")
    done = call("faces", name)
    assert done.exit_code == 0, done.stderr
    [page] = Path("faces").glob("*/faces.html")
    assert "onerror=alert(1)&gt;" in page.read_text()
    assert "<img src=x" not in page.read_text()


def test_without_the_extra_there_is_html_only(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtra("local", "cv2")

    monkeypatch.setattr(engine, "draw_sheet", missing)
    done = call("faces", shop.video("duo.mp4"))
    assert done.exit_code == 0
    assert "no contact sheet as PNG: this needs cv2" in done.stderr
    assert not Path("faces/duo/faces.png").exists()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".gif"])
def test_the_size_of_a_picture_is_read_from_its_header(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture{ending}"
    path.write_bytes(picture(ending))
    assert picture_size(path) == (60, 40)
    path.write_bytes(picture(ending)[:20])
    assert picture_size(path) is None
