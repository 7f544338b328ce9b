"""Whole runs with the real engine: detected faces, one of two faces chosen, stills, and bad pictures."""

import asyncio
import json
from itertools import islice
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from batchswap.cli.command_options import RunOptions
from batchswap.cli.progress import watch_nothing
from batchswap.cli.settings_from_options import build_settings, build_sources
from batchswap.local.engine import detect
from batchswap.manifest import Options
from batchswap.operations.run_steps import enrol, work_off_at
from tests.cli.conftest import Place, call, chosen

pytest.importorskip("mediapipe")
pytest.importorskip("skimage")

from manifests.demo_media import copier, duo_frames, find_data, read_anna, read_grace, write_video
from manifests.pixels import read_picture
from tests.engine import landmarks
from tests.engine.variants import Variant, write

FRAMES = 8


@pytest.fixture
def cast(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a clip and a still of two people, of which Grace is larger, and a picture of a cup."""
    monkeypatch.setenv("CRUN_BASE_URL", "http://127.0.0.1:9")
    copier(find_data("skimage", "data/astronaut.png"))(Path("anna.png"))
    copier(find_data("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))(Path("grace.jpg"))
    copier(find_data("skimage", "data/coffee.png"))(Path("cup.png"))
    frames = list(islice(duo_frames(read_anna(Path("anna.png")), read_grace(Path("grace.jpg"))), FRAMES))
    write_video(Path("duo.mp4"), iter(frames), None)
    cv2.imwrite("duo.png", frames[0])
    return place


def test_one_of_two_is_chosen_and_the_other_stays(cast: Place) -> None:
    Path("m.yaml").write_text(
        """
        tasks:
          - {id: clip, video: duo.mp4, faces: {1: grace.jpg}}
          - {id: still, image: duo.png, faces: {0: anna.png}}
          - {id: third, video: duo.mp4, faces: {2: grace.jpg}}
        """
    )
    options = chosen(RunOptions, "m.yaml", "--provider", "local")
    settings = build_settings(options)
    enrolled = enrol(settings, build_sources(("m.yaml",), options), Options())
    settings = msgspec.structs.replace(settings, batches=enrolled.batches)
    summary = asyncio.run(work_off_at(settings, None, watch=watch_nothing))
    assert (summary.counts["done"], summary.counts["failed"]) == (2, 1)
    assert "face 2 was not detected; detected: 0, 1" in call("show", "third").stdout
    before, after = (read_picture(Path(name)) for name in ("duo.png", "results/m/still.png"))
    changed = np.abs(before.astype(int) - after).max(2) > 25
    middle = changed.shape[1] // 2
    assert changed[:, middle:].sum() > 1000  # Grace is on the right and has face 0
    assert changed[:, :middle].sum() < 20
    people = detect(Path("results/m/clip.mp4"), cast.folder / "again").faces
    assert [face.frames for face in people] == [FRAMES, FRAMES]


def test_pictures_without_a_face_and_with_several(cast: Place) -> None:
    Path("m.csv").write_text(
        "id,video,face\na,duo.mp4,anna.png\nb,duo.mp4,cup.png\nc,duo.mp4,duo.png\nd,duo.mp4,cup.png\n"
    )
    done = call("check", "m.csv", "--media", "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 2
    assert [(each["line"], each["message"]) for each in said["problems"]] == [(3, "no face found in cup.png")]
    target, face = [(each["line"], each["message"]) for each in said["remarks"]]
    assert face == (4, "duo.png: the face picture has 2 faces: the largest is used")
    assert target[0] == 2
    assert target[1].startswith("duo.mp4 shows 2 faces at once: the largest is ")
    assert said["media"]["faces"] == 2


def test_check_gives_the_verdict_of_the_local_engine(cast: Place) -> None:
    """The local engine swaps all of these files except the last ones."""
    frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in islice(landmarks.frames(Path("duo.mp4")), FRAMES)]
    wrapped = {"ts": "libx264", "flv": "libx264", "wmv": "wmv2", "avi": "mpeg4", "mov": "libx264"}
    clips = [write(Path(f"clip-{ending}"), frames, Variant(ending, codec)) for ending, codec in wrapped.items()]
    movie = Path("clip-mov.mov").read_bytes()
    for name, data in (("old.mov", movie[:4] + b"wide" + movie[8:]), ("trailer.mov", movie + b"a camera's trailer")):
        Path(name).write_bytes(data)
        clips.append(Path(name))
    pillow_heif.register_heif_opener()
    faces = [Path(f"face.{ending}") for ending in ("bmp", "tif", "gif", "heic", "avif")]
    for face in faces:
        Image.open("anna.png").convert("RGB").save(face)
    Path("face.pdf").write_bytes(b"%PDF-1.7" + bytes(99))
    rows = [f"{clip},anna.png" for clip in clips] + [f"duo.mp4,{face}" for face in faces]
    Path("m.csv").write_text("video,face\n" + "\n".join(rows) + "\n")
    good = call("check", "m.csv", "--media", "--provider", "local", "--json")
    assert (good.exit_code, json.loads(good.stdout)["problems"]) == (0, []), good.stderr
    assert json.loads(good.stdout)["media"]["seconds"] == pytest.approx(FRAMES / 25 * (len(clips) + 1), abs=0.5)
    Path("cut.mp4").write_bytes(Path("duo.mp4").read_bytes()[:-9000])
    Path("noise.ts").write_bytes((b"\x47" + bytes(187)) * 99)
    Path("m.csv").write_text("video,face\ncut.mp4,anna.png\nnoise.ts,anna.png\nduo.mp4,duo.mp4\nduo.mp4,face.pdf\n")
    bad = call("check", "m.csv", "--media", "--provider", "local", "--json")
    assert bad.exit_code == 2
    said = {each["line"]: each["message"] for each in json.loads(bad.stdout)["problems"]}
    assert set(said) == {2, 3, 4, 5}
    assert said[2].startswith("cut.mp4: the video ")
    assert said[3] == "noise.ts: the video is not a readable media file"
    assert said[4] == "duo.mp4 is a video, not an image"
    assert said[5] == "face.pdf is a PDF file, which cannot be read: export it as JPEG"
