"""Recognise people with a network that the engine does not use: dlib's ResNet, trained for recognition.

Its weights are files of the package face_recognition_models, whose code is not run. Davis King published them with
dlib 19.3 (2017): faces of one person are within 0.6 of each other, and most strangers are further apart.
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
"""Size in pixels of the network's input, and the margin around the face in it, as in its training."""


def _model(name: str) -> str:
    return str(find_data("face_recognition_models", f"models/{name}.dat"))


@functools.cache
def _network() -> Any:
    return dlib.face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1"))


@functools.cache
def _corners() -> Any:
    """Return the model that finds the corners of the eyes and the nose, which are used to turn a face upright."""
    return dlib.shape_predictor(_model("shape_predictor_5_face_landmarks"))


def embedding(picture: Pixels, place: Floats) -> NDArray[np.float64]:
    """Return the embedding (128,) of the face at `place` (478, 3; only its box is used) in an RGB picture."""
    left, top, right, bottom = (round(edge) for edge in geometry.box(place))
    shape = _corners()(np.ascontiguousarray(picture), dlib.rectangle(left, top, right, bottom))
    chip = dlib.get_face_chip(np.ascontiguousarray(picture), shape, SIDE, SPACE)
    return np.asarray(_network().compute_face_descriptor(chip))


def people(picture: Pixels) -> list[NDArray[np.float64]]:
    """Return the embeddings of all faces of an RGB picture, from left to right."""
    with kept_stderr(), Finder.for_stills() as finder:
        places = look_everywhere(finder, picture)
    return [embedding(picture, place) for place in sorted(places, key=lambda place: geometry.box(place)[0])]


@functools.cache
def person(path: Path) -> NDArray[np.float64]:
    """Return the embedding of the largest face in a picture file."""
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)
    return embedding(picture, points([picture])[0])


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(one - other))
