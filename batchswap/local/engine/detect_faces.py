"""Detect the people in a clip or still, with a picture of each."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine import swap_still
from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.media import probe, reader
from batchswap.local.engine.media import stills as pictures
from batchswap.local.engine.media.orientation import orientation_of
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.tracking.first_pass import watch
from batchswap.local.engine.tracking.frame_store import FrameStore
from batchswap.local.engine.tracking.tracks import FaceTrack
from batchswap.local.engine.values import DetectedPeople, DetectedPerson, MediaInfo

SPACE = 0.45
"""Margin around the face in its picture, as a part of its size: people and the engine must recognise the face."""
LARGEST = 512
"""Maximum of a picture's longer side in pixels."""
TRIES = 200
"""Frames of a person that are compared to find the best one."""


def detect(path: Path, folder: Path, threads: int | None) -> DetectedPeople:
    """See batchswap.local.engine.detect."""
    with kept_stderr():
        info = probe.probe(path, "image" if probe.looks_still(path) else "video")
        folder.mkdir(parents=True, exist_ok=True)
        return detect_clip(path, folder, info, threads) if info.kind == "video" else detect_still(path, folder, info)


def detect_still(path: Path, folder: Path, info: MediaInfo) -> DetectedPeople:
    picture = pictures.read(path, "image")
    faces = []
    turns, people = swap_still.find_people(picture)
    shown = np.rot90(picture.rgb, turns)
    size = geometry.size_of(shown)
    for number, points in enumerate(people):
        share = geometry.face_area(points) / (info.width * info.height)
        upright = geometry.turned(points, -turns, size)
        faces.append(DetectedPerson(number, save(folder, number, shown, upright), share, 1))
    return DetectedPeople(info, tuple(faces))


def detect_clip(path: Path, folder: Path, info: MediaInfo, threads: int | None) -> DetectedPeople:
    with FrameStore(folder) as store:
        watched = watch(path, "video", store, threads)
        people = watched.follower.people()
        best = [best_sighting(tracks, store) for tracks in people]
        wanted: dict[int, list[int]] = {}
        for number, (frame, _) in enumerate(best):
            wanted.setdefault(frame, []).append(number)
        saved = save_frames(path, folder, wanted, [points for _, points in best], watched.turns, threads)
    faces = []
    for number, tracks in enumerate(people):
        frames = sum(len(track.frames) for track in tracks)
        share = sum(track.area for track in tracks) / frames / (info.width * info.height)
        faces.append(DetectedPerson(number, saved[number], share, frames))
    return DetectedPeople(info, tuple(faces))


def best_sighting(tracks: list[FaceTrack], store: FrameStore) -> tuple[int, Floats]:
    """Return frame number and points where the face is large and looks straight at the camera."""
    seen = [pair for track in tracks for pair in zip(track.frames, track.records, strict=True)]
    some = seen[:: max(1, len(seen) // TRIES)]
    points, frame = max(((store.read(record)[0], frame) for frame, record in some), key=lambda found: quality(found[0]))
    return frame, points


def quality(points: Floats) -> float:
    nose, right, left = points[1, :2], points[234, :2], points[454, :2]
    one, other = float(np.linalg.norm(nose - right)), float(np.linalg.norm(nose - left))
    return geometry.face_area(points) * min(one, other) / max(1e-6, one, other)


def save_frames(
    path: Path, folder: Path, wanted: Mapping[int, list[int]], points: list[Floats], more: int, threads: int | None
) -> dict[int, Path]:
    """Cut the faces out of their frames, in a further pass that ends with the last face.

    `more`: quarter turns that bring the frames upright, in addition to those that the file names.
    """
    saved: dict[int, Path] = {}
    with reader.open_clip(path, "video", threads) as clip:
        for frame_number, frame in enumerate(clip.frames()):
            if frame_number in wanted:
                rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                turns = (orientation_of(frame).turns + more) % 4
                shown = np.rot90(rgb, turns)
                for number in wanted[frame_number]:
                    upright = geometry.turned(points[number], -turns, geometry.size_of(shown))
                    saved[number] = save(folder, number, shown, upright)
            if len(saved) == len(points):
                break
    return saved


def save(folder: Path, number: int, picture: NDArray[np.uint8], points: Floats) -> Path:
    """Write a JPEG of one face."""
    size = geometry.size_of(picture)
    edges = geometry.window(geometry.box(points), SPACE, size, 1) or (0, 0, *size)
    left, top, right, bottom = edges
    part = np.ascontiguousarray(picture[top:bottom, left:right, ::-1])
    scale = min(1.0, LARGEST / max(part.shape[:2]))
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    path = folder / f"face-{number}.jpg"
    path.write_bytes(cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 93])[1].tobytes())
    return path
