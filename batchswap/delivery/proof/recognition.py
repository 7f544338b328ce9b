"""Recognise people with dlib's ResNet: an embedding of 128 numbers for each face.

Davis King published the network with dlib 19.3 (2017), its weights under CC0. Two pictures of one person are mostly
within 0.6 of each other, and most strangers are farther apart. The weights are a file of the package
face_recognition_models, whose code is not run. NumPy computes the network, because dlib-bin, which is built without a
BLAS, takes 150 ms for a face instead of 15.
"""

import functools
import hashlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from batchswap.errors import EngineError, MissingExtra
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats

PACKAGE, INSIDE = "face_recognition_models", Path("models") / "dlib_face_recognition_resnet_model_v1.dat"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

SIDE, SPACE = 150, 0.25
"""Size in pixels of the network's input, and the margin around the face in it, as in its training."""
LANDMARKS = (263, 362, 33, 133, 2)
"""The outer and inner corner of the left eye, the same of the right eye, and the base of the nose."""
PLACES = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)
"""Their places in the input, without the margin, as dlib's get_face_chip has them."""
MEAN = np.array([122.782, 117.001, 104.298], np.float32)
"""Mean of the input's red, green and blue in training."""
WIDTHS = (*(32,) * 6, *(64,) * 8, *(128,) * 6, *(256,) * 8)
"""Filters of the layers behind the first one. Two layers are one block, which adds its input to its output."""
WIDTH = 128
BATCH = 8
"""Faces that are computed together. More need more memory and are not faster."""

TAG = re.compile(rb"(con_4|affine_|fc_2)(?=[\x01-\x04])")
"""Names of the layers with weights, and the start of a number."""


class Layer(NamedTuple):
    """A convolution: `weights` are (side * side * inputs, filters)."""

    weights: Floats
    bias: Floats
    side: int
    stride: int


class Network(NamedTuple):
    """The layers in order, and the last one, which is a plain matrix."""

    layers: tuple[Layer, ...]
    last: Floats


def weights_path() -> Path:
    """Find the weights without running the code of their package. Raises MissingExtra."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(place) / INSIDE).is_file():
            return path
    raise MissingExtra("proof", PACKAGE)


@functools.cache
def network() -> Network:
    """Load the network once in each process. Raises MissingExtra, or EngineError("engine", …) for other weights."""
    data = weights_path().read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise EngineError("engine", f"the weights of {PACKAGE} have an unexpected SHA-256: reinstall it with pip")
    found = list(_tensors(data))
    convolutions, scales, last = found[:-1:2], found[1:-1:2], found[-1]
    return Network(tuple(_layers(convolutions, scales)), last.reshape(-1, WIDTH).copy())


def _tensors(data: bytes) -> Iterator[Floats]:
    """Yield the weights of all layers in order, as dlib has written them (dlib/serialize.h, dlib/cuda/tensor.h)."""
    for match in TAG.finditer(data):
        at = match.end()
        if match[0] == b"fc_2":
            for _ in range(2):  # the numbers of its outputs and inputs
                at = _number(data, at)[1]
        count, at = 1, _number(data, at)[1]
        for _ in range(4):
            size, at = _number(data, at)
            count *= size
        yield np.frombuffer(data, "<f4", count, at)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and the place behind it. Its first byte is its length."""
    end = at + 1 + (data[at] & 0x0F)
    return int.from_bytes(data[at + 1 : end], "little"), end


def _layers(convolutions: Sequence[Floats], scales: Sequence[Floats]) -> Iterator[Layer]:
    """Yield the layers, each with the scale and shift that follow it."""
    before = 3
    for number, (values, scale) in enumerate(zip(convolutions, scales, strict=True)):
        filters, side = (WIDTHS[number - 1], 3) if number else (32, 7)
        halves = number == 0 or (number % 2 == 1 and (filters != before or number == len(WIDTHS) - 1))
        count = filters * before * side * side
        factor, shift = scale[:filters], scale[filters:]
        weights = values[:count].reshape(filters, before, side, side) * factor[:, None, None, None]
        flat = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, filters))
        yield Layer(flat, values[count:] * factor + shift, side, 2 if halves else 1)
        before = filters


def embeddings(chips: Sequence[ByteArray]) -> NDArray[np.float32]:
    """Return (n, 128) for RGB pictures (150, 150, 3) made by `chip`."""
    parts = [_forward(np.stack(chips[start : start + BATCH])) for start in range(0, len(chips), BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, WIDTH), np.float32)


def _forward(pictures: ByteArray) -> NDArray[np.float32]:
    first, *rest = network().layers
    x = _above_zero(_convolve((pictures - MEAN) / 256, first))
    x = sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((-1, -2))
    for one, two in zip(rest[::2], rest[1::2], strict=True):
        y = _convolve(_above_zero(_convolve(x, one)), two)
        x = _above_zero(_add(_halve(x), y) if one.stride == 2 else x + y)
    return np.asarray(x.mean((1, 2)) @ network().last, np.float32)


def _convolve(x: Floats, layer: Layer) -> Floats:
    """`x` is (n, height, width, channels). Only layers with stride 1 have a margin."""
    if layer.stride == 1:
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(x, (layer.side, layer.side), (1, 2))[:, :: layer.stride, :: layer.stride]
    count, high, wide = windows.shape[:3]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(count * high * wide, -1)
    found = columns @ layer.weights
    found += layer.bias
    return found.reshape(count, high, wide, -1)


def _above_zero(x: Floats) -> Floats:
    return np.maximum(x, 0, out=x)


def _halve(x: Floats) -> Floats:
    count, high, wide, channels = x.shape
    cut = x[:, : high // 2 * 2, : wide // 2 * 2]
    return np.asarray(cut.reshape(count, high // 2, 2, wide // 2, 2, channels).mean((2, 4)))


def _add(x: Floats, y: Floats) -> Floats:
    """Add two arrays of different shapes. What one lacks is zero."""
    total = np.zeros(np.maximum(x.shape, y.shape), np.float32)
    for each in (x, y):
        total[tuple(slice(size) for size in each.shape)] += each
    return total


def chip(picture: ByteArray, points: Floats) -> ByteArray:
    """Cut out a face (478, 3) from an RGB picture, turned upright, as the network expects it."""
    return aligned(picture, points, SIDE, (PLACES + SPACE) / (2 * SPACE + 1) * SIDE)


def aligned(picture: ByteArray, points: Floats, side: int, places: NDArray[np.float64]) -> ByteArray:
    """Turn, scale and shift a picture so that a face's LANDMARKS come to `places` (5, 2) in a square of `side`."""
    way = similarity(points[list(LANDMARKS), :2], places)
    zoom = float(np.hypot(way[0, 0], way[1, 0]))
    if zoom < 0.5:  # scale down first, because the warp reads only the nearest pixels
        picture, way = shrunk(picture, way, side, zoom)
    return np.asarray(cv2.warpAffine(picture, way, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def shrunk(
    picture: ByteArray, way: NDArray[np.float64], side: int, zoom: float
) -> tuple[ByteArray, NDArray[np.float64]]:
    """Return the part of the picture that comes into the square, scaled down, and the way from there."""
    corners = np.array([(0, 0, 1), (side, 0, 1), (0, side, 1), (side, side, 1)], np.float64)
    seen = corners @ cv2.invertAffineTransform(way).T
    edges = np.array([picture.shape[1], picture.shape[0]])
    low = np.clip(np.floor(seen.min(0)).astype(int) - 2, 0, edges - 1)
    high = np.clip(np.ceil(seen.max(0)).astype(int) + 2, low + 1, edges)
    part = picture[low[1] : high[1], low[0] : high[0]]
    size = np.maximum(1, np.rint((high - low) * zoom)).astype(int)
    small = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    scale = (high - low) / size
    shift = (scale - 1) / 2 + low  # the middle of a pixel is not its corner
    return np.asarray(small, np.uint8), np.column_stack([way[:, :2] * scale, way[:, 2] + way[:, :2] @ shift])


def similarity(source: Floats, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (2, 3): the turn, scale and shift that bring the points of `source` nearest to those of `target`."""
    one, two = (points[:, 0] + 1j * points[:, 1] for points in (source.astype(np.float64), target))
    apart = one - one.mean()
    factor = np.vdot(apart, two - two.mean()) / max(1e-9, np.vdot(apart, apart).real)
    shift = two.mean() - factor * one.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
