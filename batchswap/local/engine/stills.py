"""Swaps faces in a still."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from batchswap.local.engine import geometry, mesh, people, pictures
from batchswap.local.engine.coding import Coding, planes_of
from batchswap.local.engine.fitting import Fitter
from batchswap.local.engine.following import Pose
from batchswap.local.engine.geometry import Floats
from batchswap.local.engine.newface import NewFace, look_hard
from batchswap.local.engine.pictures import Picture
from batchswap.local.engine.samples import look
from batchswap.local.engine.values import MediaInfo, SwapJob, SwapReport

CULPRIT = "image"
CODING = Coding()


def swap_still(job: SwapJob, info: MediaInfo, faces: dict[int | None, NewFace], part: Path) -> SwapReport:
    """Write the swapped picture to `part`, in the format of its ending."""
    picture = pictures.read(job.target, CULPRIT)
    chosen = people.choose(faces, find_people(picture), CULPRIT)
    planes = planes_of(np.asarray(np.rint(CODING.encode(picture.rgb)), np.uint8))
    before = [plane.copy() for plane in (planes.luma, planes.blue, planes.red)]
    fitted = [
        Fitter(face, CODING).fit(
            planes, Pose(points, look(planes, points).astype(np.float32), np.ones(mesh.SURFACE, np.float32))
        )
        for points, face in chosen
    ]
    after = [planes.luma, planes.blue, planes.red]
    changed = np.any([one != two for one, two in zip(before, after, strict=True)], 0)
    rgb = np.where(changed[..., None], CODING.decode(np.dstack(after).astype(np.float32)), picture.rgb)
    pictures.write(part, replace(picture, rgb=rgb), job.label)
    return SwapReport(1, int(any(fitted)), 0.0, info.width, info.height, people.notes(faces))


def find_people(picture: Picture) -> list[Floats]:
    """Points (478, 3) of each face, the largest first."""
    found = look_hard(picture.rgb)
    return sorted(found, key=lambda points: -geometry.area(geometry.box(points)))
