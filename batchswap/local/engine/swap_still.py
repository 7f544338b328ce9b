"""Swap faces in a still."""

from pathlib import Path

import numpy as np

from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats
from batchswap.local.engine.media import stills
from batchswap.local.engine.media.colour_planes import Coding, look, planes_of
from batchswap.local.engine.media.stills import Picture
from batchswap.local.engine.rendering import new_face
from batchswap.local.engine.rendering.composite import Fitter
from batchswap.local.engine.rendering.new_face import NewFace, look_upright
from batchswap.local.engine.tracking import upright
from batchswap.local.engine.tracking.trajectory import Pose
from batchswap.local.engine.values import MediaInfo, SwapJob, SwapReport

CULPRIT = "image"
CODING = Coding()
SPACE = 0.1
"""Margin around a face in the part that is processed, relative to the face's size: more than any step needs."""


def swap_still(job: SwapJob, info: MediaInfo, faces: dict[int | None, NewFace], part: Path) -> SwapReport:
    """Write the swapped picture to `part`, in the format of its suffix."""
    picture = stills.read(job.target, CULPRIT)
    turns, found = find_people(picture)
    chosen = new_face.choose(faces, found, CULPRIT)
    fitted = [fit(picture.rgb, points, Fitter(face, CODING)) for points, face in chosen]
    stills.write(part, picture, job.label)
    notes = (*new_face.notes_of(faces), *upright.notes(turns, CULPRIT))
    return SwapReport(1, int(any(fitted)), 0.0, info.width, info.height, notes)


def fit(rgb: ByteArray, points: Floats, fitter: Fitter) -> bool:
    """Change a picture in place and return whether anything changed. Process only the part around the face."""
    edges = geometry.window(geometry.box(points), SPACE, geometry.size_of(rgb))
    if edges is None:
        return False
    left, top, right, bottom = edges
    part, here = rgb[top:bottom, left:right], points - np.array([left, top, 0], np.float32)
    codes = np.asarray(np.rint(CODING.encode(part)), np.uint8)
    planes = planes_of(codes)
    pose = Pose(here, look(planes, here).astype(np.float32), np.ones(mesh.SURFACE, np.float32))
    done = fitter.fit(planes, pose)
    after = np.dstack([planes.luma, planes.blue, planes.red])
    changed = (after != codes).any(2)
    part[changed] = CODING.decode(after.astype(np.float32))[changed]
    return done


def find_people(picture: Picture) -> tuple[int, list[Floats]]:
    """Return the quarter turns that bring the picture upright, and the points (478, 3) of its faces before the turn.

    The largest face comes first.
    """
    turns, found = look_upright(picture.rgb)
    faces = geometry.turned(found, turns, geometry.size_of(picture.rgb))
    return turns, sorted(faces, key=geometry.face_area, reverse=True)
