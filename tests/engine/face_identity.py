"""Who a face is, told by a network that the engine knows nothing of: dlib's ResNet, trained for recognition.

Its weights are files of the package face_recognition_models, none of whose code is run. They were published by
Davis King with dlib 19.3 (2017): faces of one person lie within 0.6 of each other, most strangers further apart.
"""

import functools
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import geometry
from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.tracking.close_search import look_everywhere
from batchswap.local.engine.tracking.finder import Finder
from manifests.demo_media import find_data
from tests.engine.landmarks import Pixels, points

SIDE, SPACE = 150, 0.25
"""Pixels of the picture that the network looks at, and the space around the face in it: what it was trained with."""


def _model(name: str) -> str:
    return str(find_data("face_recognition_models", f"models/{name}.dat"))


@functools.cache
def _network() -> Any:
    return dlib.face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1"))


@functools.cache
def _corners() -> Any:
    """Finds the corners of the eyes and the nose, by which a face is brought upright."""
    return dlib.shape_predictor(_model("shape_predictor_5_face_landmarks"))


def embedding(picture: Pixels, place: Floats) -> NDArray[np.float64]:
    """(128,) for the face of an RGB picture that stands at `place` (478, 3), of which only the box is used."""
    left, top, right, bottom = (round(edge) for edge in geometry.box(place))
    shape = _corners()(np.ascontiguousarray(picture), dlib.rectangle(left, top, right, bottom))
    chip = dlib.get_face_chip(np.ascontiguousarray(picture), shape, SIDE, SPACE)
    return np.asarray(_network().compute_face_descriptor(chip))


def people(picture: Pixels) -> list[NDArray[np.float64]]:
    """The embeddings of all faces of an RGB picture, from left to right."""
    with kept_stderr(), Finder.for_stills() as finder:
        places = look_everywhere(finder, picture)
    return [embedding(picture, place) for place in sorted(places, key=lambda place: geometry.box(place)[0])]


@functools.cache
def person(path: Path) -> NDArray[np.float64]:
    """The embedding of the largest face in a picture file."""
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)
    return embedding(picture, points([picture])[0])


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(one - other))
