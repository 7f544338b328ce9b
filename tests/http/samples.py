"""Small real media files, made once per process with common libraries."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

FRAMES = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(6)]


@cache
def movie(container: str = "mp4", codec: str = "mpeg4", **options: str) -> bytes:
    """Return a video of six grey frames of 64 x 48."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample"
        with av.open(str(path), "w", format=container, options=options) as out:
            stream: Any = out.add_stream(codec, rate=12)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for frame in FRAMES:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            out.mux(stream.encode(None))
        return path.read_bytes()


@cache
def picture(ending: str) -> bytes:
    """Return noise of 60 x 40 as a ".png", ".jpg", ".webp" or ".gif" of cv2."""
    noise = np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    done, data = cv2.imencode(ending, noise)
    assert done
    return bytes(data)


VIDEOS = {
    "mp4": (movie, {}, "video/mp4"),
    "mp4 with moov first": (movie, {"movflags": "faststart"}, "video/mp4"),
    "fragmented mp4": (movie, {"movflags": "frag_keyframe+empty_moov"}, "video/mp4"),
    "mov": (movie, {"container": "mov"}, "video/quicktime"),
    "webm": (movie, {"container": "webm", "codec": "libvpx"}, "video/webm"),
    "live webm": (movie, {"container": "webm", "codec": "libvpx", "live": "1"}, "video/webm"),
    "matroska": (movie, {"container": "matroska"}, "video/x-matroska"),
}
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}


def video(name: str) -> tuple[bytes, str]:
    """Return the bytes and the media type of one of VIDEOS."""
    make, options, media_type = VIDEOS[name]
    return make(**options), media_type
