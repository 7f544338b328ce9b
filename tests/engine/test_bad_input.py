"""A bad input gets a message that names it, and no file is left behind."""

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob, detect, probe, swap
from manifests.demo_media import Media, read_anna, view, write_video

Maker = Callable[[Path, Media], Path]


def cut(path: Path, source: Path, part: float = 0.6) -> Path:
    data = source.read_bytes()
    path.write_bytes(data[: round(len(data) * part)])
    return path


def with_thumbnail(media: Media) -> bytes:
    """Return a JPEG as cameras make it: with a complete thumbnail in its EXIF, including an end marker."""
    data = media.grace.read_bytes()
    small = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(media.grace)), (128, 150)))[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + small
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def sound_only(path: Path, media: Media) -> Path:
    import av

    with av.open(str(media.portrait)) as reader, av.open(str(path), "w", format="mp4") as writer:
        track = writer.add_stream_from_template(reader.streams.audio[0])
        for packet in reader.demux(audio=0):
            if packet.size:
                packet.stream = track
                writer.mux(packet)
    return path


BAD: dict[str, tuple[str, Maker, str]] = {
    "missing": ("video", lambda p, _m: p, "the video cannot be read: No such file or directory"),
    "empty": ("video", lambda p, _m: text(p, ""), "the video is empty"),
    "folder": ("face", lambda p, _m: p.parent, "the face picture is not a plain file"),
    "device": ("video", lambda _p, _m: Path("/dev/zero"), "the video is not a plain file"),
    "fifo": ("image", lambda p, _m: fifo(p), "the image is not a plain file"),
    "text": ("video", lambda p, _m: text(p, "<html>404</html>" * 99), "the video is not a readable media file"),
    "text for a face": (
        "face",
        lambda p, _m: text(p, "nothing"),
        "the face picture is damaged or not a picture: use JPEG, PNG or WebP",
    ),
    "playlist": (
        "video",
        lambda p, m: text(p, f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{m.carphone}\n#EXT-X-ENDLIST\n"),
        "the video is not a readable media file",
    ),
    "cut off video": ("video", lambda p, m: cut(p, m.portrait), "the video is cut off"),
    "video without its index": (
        "video",
        lambda p, m: cut(p, m.carphone, 0.3),
        "the video is (cut off|not a readable media file)",
    ),
    "cut off png": ("face", lambda p, m: cut(p, m.anna), "the face picture is cut off"),
    "cut off jpeg": ("image", lambda p, m: cut(p, m.grace), "the image is cut off"),
    "cut off jpeg with a thumbnail": (
        "image",
        lambda p, m: write(p, with_thumbnail(m)[:-20_000]),
        "the image is cut off",
    ),
    "cut off png with an end marker in a text": (
        "image",
        lambda p, m: write(p, m.anna.read_bytes()[:33] + b"\0\0\0\4tEXtIEND\0\0\0\0" + m.anna.read_bytes()[33:-9999]),
        "the image is cut off",
    ),
    "video for a face": (
        "face",
        lambda _p, m: m.carphone,
        "the face picture is damaged or not a picture: use JPEG, PNG or WebP",
    ),
    "unknown coding": (
        "video",
        lambda p, m: write(p, m.portrait.read_bytes().replace(b"avc1", b"zzzz")),
        "the video uses an unsupported codec: convert it to H.264",
    ),
    "sound": ("video", sound_only, "the video has no picture, only sound"),
}


@pytest.mark.parametrize("name", BAD)
def test_probe_names_the_fault(name: str, tmp_path: Path, media: Media) -> None:
    culprit, make, sentence = BAD[name]
    with pytest.raises(EngineError) as caught:
        probe(make(tmp_path / "input", media), culprit)
    assert caught.value.culprit == culprit
    assert re.fullmatch(sentence, caught.value.message)


def test_probe_refuses_a_file_above_the_limit(media: Media) -> None:
    assert probe(media.carphone, "video", 10**6).frames == 120
    with pytest.raises(EngineError, match=r"the video is larger than the limit of 0\.5 MB"):
        probe(media.carphone, "video", 500_000)


def test_probe_distinguishes_stills_and_videos(media: Media) -> None:
    still, clip = probe(media.anna, "image"), probe(media.portrait, "video")
    assert (still.kind, still.width, still.height) == ("image", 512, 512)
    assert (clip.kind, clip.width, clip.height, clip.frames, clip.has_audio) == ("video", 640, 480, 125, True)
    assert abs(clip.duration_s - 5) < 0.1


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
def test_a_whole_jpeg_is_not_cut_off(tmp_path: Path, media: Media, options: list[int]) -> None:
    data = cv2.imencode(".jpg", cv2.imread(str(media.grace)), options)[1].tobytes()
    assert probe(write(tmp_path / "whole.jpg", data), "image").width == 512
    assert probe(write(tmp_path / "padded.jpg", data[:2] + b"\xff" * 9 + data[2:] + b"more"), "image").width == 512
    with pytest.raises(EngineError, match=r"^the image is cut off$"):
        probe(write(tmp_path / "cut.jpg", data[:-2]), "image")


def test_a_whole_jpeg_with_a_thumbnail(tmp_path: Path, media: Media) -> None:
    assert probe(write(tmp_path / "camera.jpg", with_thumbnail(media)), "face").width == 512


def test_a_face_picture_without_a_face(tmp_path: Path, media: Media) -> None:
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((200, 200, 3), 120, np.uint8))
    with pytest.raises(EngineError, match=r"^no face found in the face picture$") as caught:
        swap(SwapJob(media.carphone, tmp_path / "out.mp4", ((None, wall),)))
    assert caught.value.culprit == "face"
    assert [path.name for path in tmp_path.iterdir()] == ["wall.png"]


@pytest.mark.parametrize("seen", [0, 5])
def test_a_clip_with_a_face_in_too_few_frames_is_refused(tmp_path: Path, media: Media, seen: int) -> None:
    """A face in so few frames counts as an error of the finder. The message must be true in both cases."""
    clip = tmp_path / "wall.mp4"
    wall, face = (
        np.full((360, 480, 3), 90, np.uint8),
        view(read_anna(media.anna), (480, 360), centre=(240, 180), width=150),
    )
    write_video(clip, [*[wall] * 5, *[face] * seen, *[wall] * 5])
    with pytest.raises(EngineError, match=r"^no face found in the video, or only in fewer than 6 frames$") as caught:
        swap(SwapJob(clip, tmp_path / "out.mp4", ((None, media.anna),)))
    assert caught.value.culprit == "video"
    assert [path.name for path in tmp_path.iterdir()] == ["wall.mp4"]


@pytest.mark.parametrize("size", [(120, 160), (16, 16), (2, 1400)])
def test_detecting_no_face_is_no_error(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = tmp_path / "wall.mp4"
    write_video(clip, (np.full((*size, 3), 90, np.uint8) for _ in range(5)))
    assert detect(clip, tmp_path / "faces").faces == ()


def test_the_kind_of_the_target_must_match_the_output(tmp_path: Path, media: Media) -> None:
    with pytest.raises(EngineError, match=r"^the file is a still picture, not a video$"):
        swap(SwapJob(media.anna, tmp_path / "out.mp4", ((None, media.grace),)))
    with pytest.raises(EngineError, match=r"^the file is a video, not a still picture$"):
        swap(SwapJob(media.carphone, tmp_path / "out.png", ((None, media.grace),)))


def test_a_damaged_clip_leaves_no_file(tmp_path: Path, media: Media) -> None:
    data = bytearray(media.carphone.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40_000] = b"\xff" * 40_000
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    folder = tmp_path / "results"
    folder.mkdir()
    with pytest.raises(EngineError, match=r"^the video is damaged: "):
        swap(SwapJob(broken, folder / "out.mp4", ((None, media.anna),)))
    assert not list(folder.iterdir())
