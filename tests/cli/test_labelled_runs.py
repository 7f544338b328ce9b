"""`run --visible-label` draws a text onto the results, and says so before it pays for anything."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from batchswap.local.engine import requirements
from batchswap.provenance.verification import verify
from tests.cli.conftest import Place, call, work

TEXT = ("--visible-label", "KI-erzeugt ä")
WORDS = "results are encoded again"


def film(path: str) -> None:
    """Write a clip of three grey frames."""
    with av.open(path, "w") as made:
        stream = made.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(3):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((240, 320, 3), 90, np.uint8), format="rgb24")))
        made.mux(stream.encode())


def brightest(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [int(frame.to_ndarray(format="gray")[200:].max()) for frame in container.decode(video=0)]


def test_every_frame_of_a_result_has_the_label_and_the_run_says_so_once(shop: Place) -> None:
    film("clip.mp4")
    Path("spring.csv").write_text("id,video,face\na,clip.mp4,face.png\n")
    done = work("spring.csv", *TEXT)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(WORDS) == 1
    assert done.stderr.index(WORDS) < done.stderr.index("done")
    assert min(brightest(Path("results/spring/a.mp4"))) > 220
    assert not verify(Path("results/spring/a.mp4")).is_labelled  # the tests leave out the label in the metadata
    with closing(sqlite3.connect("batchswap.db")) as db:
        sql = "select d.received_sha256, t.sha256 from deliveries d join tasks t on t.id = d.task_id"
        [(received, delivered)] = db.execute(sql)
    assert received != delivered
    assert delivered == hashlib.sha256(Path("results/spring/a.mp4").read_bytes()).hexdigest()


def test_a_still_has_the_label(shop: Place) -> None:
    Image.new("RGB", (320, 240), (40, 40, 40)).save("still.png")
    Path("still.csv").write_text("id,image,face,output\na,still.png,face.png,a.png\n")
    done = work("still.csv", *TEXT)
    assert done.exit_code == 0, done.stderr
    with Image.open("results/a.png") as shown:
        assert np.asarray(shown)[200:].max() > 220


def test_a_result_that_cannot_be_decoded_is_saved_as_it_came_with_a_warning(shop: Place) -> None:
    film("clip.mp4")
    data = Path("clip.mp4").read_bytes()
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    Path("clip.mp4").write_bytes(data[:start] + bytes(size) + data[start + size :])
    Path("spring.csv").write_text("id,video,face\na,clip.mp4,face.png\n")
    done = work("spring.csv", *TEXT, "--log-format", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.exit_code == 0, done.stderr
    [found] = [each for each in events if each["event"] == "result-not-signed"]
    assert found["level"] == "warning"
    assert "saved as it came" in str(found)
    assert Path("results/spring/a.mp4").read_bytes().startswith(Path("clip.mp4").read_bytes())


def test_the_plan_says_that_results_are_encoded_again(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    assert call("plan", name, *TEXT).stdout.count(WORDS) == 1
    assert json.loads(call("plan", name, *TEXT, "--json").stdout)["visible_label"] == "KI-erzeugt ä"
    assert WORDS not in call("plan", name).stdout


@pytest.mark.parametrize(("text", "words"), [("a\tb", "control"), ("w" * 99, "does not fit"), ("生成", "U+751F")])
def test_a_text_that_cannot_be_drawn_stops_the_run_before_anything_is_paid(shop: Place, text: str, words: str) -> None:
    refused = work(shop.manifest("spring.csv", 1), "--visible-label", text)
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert words in refused.stderr
    assert "--visible-label" in refused.stderr


def test_a_missing_package_stops_the_run_before_anything_is_paid(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "MODULES", (*requirements.MODULES, "no_such_module"))
    refused = work(shop.manifest("spring.csv", 1), *TEXT)
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert "no_such_module" in refused.stderr
    assert "batchswap[local]" in refused.stderr
