"""The server with the engine that really swaps: stills, so that it stays quick."""

from pathlib import Path

import pytest

from batchswap.local.server.work.mesh_engine import MeshEngine
from tests.http.fake_engine import send
from tests.http.local import running

matplotlib = pytest.importorskip("matplotlib")
skimage = pytest.importorskip("skimage")
pytest.importorskip("mediapipe")

ADMIRAL = Path(matplotlib.__file__).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
ASTRONAUT = Path(skimage.__file__).parent / "data" / "astronaut.png"
COFFEE = Path(skimage.__file__).parent / "data" / "coffee.png"


def test_a_still_is_detected_and_swapped_and_a_picture_without_a_face_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, MeshEngine()) as client:
        still, face, none = (client.upload(path.read_bytes(), path.suffix) for path in (ADMIRAL, ASTRONAUT, COFFEE))
        refused = client.create({"model": "image-face-swap", "input": {"image_url": still, "new_face": none}})
        assert (refused.status, refused.json["message"]) == (422, "input.new_face: no face found in the picture")
        faceless = client.create({"model": "image-face-swap", "input": {"image_url": none, "new_face": face}}).data
        found = client.detect(still, "image_url")["result"]
        assert [each["id"] for each in found["faces"]] == [0]
        assert send("GET", found["faces"][0]["link"]).body.startswith(b"\xff\xd8")
        given = {"detect_id": found["id"], "image_url": still, "faces": [{"face_id": 0, "target": face}]}
        end = client.wait(client.create({"model": "image-face-swap-multi", "input": given}).data["task_id"])
        assert (end["status"], end["credits"]) == ("success", 1)
        result = send("GET", end["result"]["media_urls"][0])
        assert (result.headers["Content-Type"], result.body[:4]) == ("image/jpeg", b"\xff\xd8\xff\xe0")
        end = client.wait(faceless["task_id"])
        assert (end["status"], end["result"]["code"]) == ("failed", 501)
        assert end["result"]["message"].startswith("input.image_url: no face found in")


def test_what_is_no_media_is_named(tmp_path: Path) -> None:
    with running(tmp_path, MeshEngine()) as client:
        video, face = client.upload(b"<html>"), client.upload(ASTRONAUT.read_bytes()[:5000], ".png", "image/png")
        good = client.upload(ASTRONAUT.read_bytes(), ".png", "image/png")
        for given, field in (
            ({"video_url": video, "new_face": good}, "input.video_url: "),
            ({"video_url": good, "new_face": good}, "input.video_url: must be a video, this is a picture"),
            ({"video_url": good, "new_face": face}, "input.new_face: "),
        ):
            answer = client.create({"model": "video-face-swap", "input": given})
            assert answer.status == 422
            assert answer.json["message"].startswith(field)
