"""The files that the examples name, and an engine that takes them: it copies, and measures like the real one."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from batchswap.local.server.work.engine_interface import InputInfo
from tests.cli.quick import QuickEngine, box
from tests.http.samples import picture

RATE = 4
"""Frames a second."""


@cache
def movie(seconds: int) -> bytes:
    """Return a grey video of 64 x 48."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample"
        with av.open(str(path), "w", format="mp4") as out:
            stream: Any = out.add_stream("mpeg4", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(seconds * RATE):
                frame = np.full((48, 64, 3), 20 * (number % 12), np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            out.mux(stream.encode(None))
        return path.read_bytes()


def put_media(folder: Path) -> None:
    """Make the clips and faces that the manifests of the documentation name; in `crowd.mp4` no face is found."""
    (folder / "clips").mkdir()
    (folder / "faces").mkdir()
    for name, seconds in (("intro", 12), ("outro", 9), ("teaser", 5), ("crowd", 25), ("snow", 9)):
        mark = box(b"broken" if name == "crowd" else name.encode())
        (folder / "clips" / f"{name}.mp4").write_bytes(movie(seconds) + mark)
    for name in ("anna", "ben"):
        (folder / "faces" / f"{name}.png").write_bytes(picture(".png") + name.encode())


class DocsEngine(QuickEngine):
    """A quick engine whose prices depend on the length of the video."""

    def look(self, path: Path, culprit: str) -> InputInfo:
        """Return the kind and the length."""
        found = super().look(path, culprit)
        if found.kind != "video":
            return found
        with av.open(str(path)) as container:
            return InputInfo("video", (container.duration or 0) / av.time_base)
