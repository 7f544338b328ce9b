"""Every kind of row, from a manifest with files to its result, against a local server."""

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Place, call, use, work
from tests.cli.quick import KEY, QuickEngine, box, png
from tests.http.local import SetClock, running


def result(name: str) -> bytes:
    return Path("results/all", name).read_bytes()


def swapped(*faces: bytes) -> bytes:
    """Return the mark that the quick engine leaves in its results."""
    return box(hashlib.sha256(b"".join(faces)).digest())


def test_chosen_faces_and_stills_from_files(shop: Place) -> None:
    anna, grace = png(7, 8), png(9, 10)
    Path("anna.png").write_bytes(anna)
    Path("grace.png").write_bytes(grace)
    Path("still.png").write_bytes(png(70, 80))
    shop.video("duo.mp4")
    Path("all.yaml").write_text(
        """
        tasks:
          - {id: one, video: duo.mp4, face: anna.png}
          - {id: second, video: duo.mp4, faces: {1: anna.png}}
          - {id: both, video: duo.mp4, faces: {0: anna.png, 1: grace.png}}
          - {id: still, image: still.png, face: grace.png}
          - {id: group, image: still.png, faces: {0: grace.png}}
          - {id: unknown, video: duo.mp4, faces: {3: anna.png}}
        """
    )
    done = work("all.yaml", "--json")
    assert done.exit_code == 3
    said = json.loads(done.stdout)
    assert (said["counts"]["done"], said["counts"]["failed"]) == (5, 1)
    assert said["requests"]["submit"] == 5
    assert said["requests"]["upload"] == 4  # one upload for each content
    assert said["requests"]["estimate"] == 4  # each model once: the file does not say that it is longer than 10 s
    assert 4 <= said["requests"]["detect"] <= 8  # the video and the still, once each
    assert result("one.mp4").endswith(swapped(anna))
    assert result("second.mp4").endswith(swapped(anna))
    assert result("both.mp4").endswith(swapped(anna, grace))
    assert result("still.png").endswith(swapped(grace))
    assert result("group.png").endswith(swapped(grace))
    shown = call("show", "unknown").stdout
    assert "face 3 was not detected; detected: 0, 1" in shown
    both = call("show", "both").stdout.splitlines()
    assert [line.strip() for line in both if line.strip().startswith("face")] == [
        "face 0: anna.png",
        "face 1: grace.png",
    ]
    listed = {each["key"]: each["face"] for each in json.loads(call("tasks", "--format", "json").stdout)}
    assert (listed["one"], listed["both"]) == ("anna.png", "0=anna.png; 1=grace.png")
    again = work("all.yaml", "--json")
    assert json.loads(again.stdout)["requests"]["submit"] == 0


def test_a_target_without_faces_is_refused_before_it_is_paid(shop: Place) -> None:
    Path("empty.csv").write_text(f"id,video,face_0\ne,{shop.video('empty.mp4', 'noface')},face.png\n")
    done = work("empty.csv", "--retries", "0", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["requests"]["submit"] == 0
    assert "no faces were detected: no face found" in call("show", "e").stdout


def test_a_face_picture_without_a_face_is_refused_before_it_is_paid(shop: Place) -> None:
    Path("blank.png").write_bytes(png(5, 5) + b"noface")
    Path("blank.csv").write_text(f"id,video,face\nb,{shop.video('blank.mp4')},blank.png\n")
    done = work("blank.csv", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["credits"]["spent"] == 0
    assert "input.new_face: no face found in the face picture" in call("show", "b").stdout


def test_a_file_larger_than_allowed_has_its_own_message(shop: Place) -> None:
    work(shop.manifest("large.csv", 1), "--max-upload", "1KB")
    assert "bytes, more than --max-upload allows (1,000)" in call("show", "r0").stdout


def test_a_detection_that_the_server_forgot_is_made_again_and_nothing_is_paid_twice(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's lifetime for it is shorter than the ledger assumes."""
    clock = SetClock()
    with running(tmp_path / "forgetful", QuickEngine(), clock, keys=(KEY,), detection_ttl=600.0) as server:
        use(server, monkeypatch)
        rows = "".join(f"d{i},duo.mp4,face.png\n" for i in range(3))
        Path("duo.csv").write_text(f"id,video,face_0\n{rows}")
        place.video("duo.mp4")
        assert work("duo.csv", "--limit", "1").exit_code == 0
        clock.ahead = 700.0
        with sqlite3.connect("batchswap.db") as db:
            db.execute("update detections set detected_at = detected_at - 700")
        db.close()
        done = work("duo.csv", "--json")
        said = json.loads(done.stdout)
        assert (done.exit_code, said["counts"]["done"]) == (0, 3)
        assert said["requests"]["submit"] == 2
        assert said["credits"]["spent"] == 3
        assert said["requests"]["upload"] == 0
