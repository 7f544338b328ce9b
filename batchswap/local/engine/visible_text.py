"""Draw a short text: white, outlined, on a dark translucent box in the lower left corner of the upright picture."""

import importlib.util
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from batchswap.errors import EngineError

if TYPE_CHECKING:
    from batchswap.local.engine.media.colour_planes import Coding, Planes

PACKAGE, FONT = "matplotlib", "DejaVuSans.ttf"
"""The font of matplotlib, which mediapipe needs. The one of Pillow has no umlauts."""
SHARE = 30
"""The shorter side of the picture, relative to the height of the letters."""
ROOM = 0.9
"""The longest text, relative to the shorter side."""
LEAST, SMALLEST = 10, 6
"""Heights in pixels: of the letters in a small picture, and of the smallest legible ones, where these do not fit."""
DARK = 150
"""Opacity of the box, 0 to 255."""
_TRIAL = 120
_UNASSIGNED = "\U0010fffe"


def problem_with(text: str) -> str:
    """Return why a text cannot be drawn, without its name; "" if it can be."""
    if not text.strip():
        return "the text is empty"
    if any(unicodedata.category(each)[0] in "CZ" and each != " " for each in text):
        return "the text must have no control characters and no line breaks"
    missing = [each for each in dict.fromkeys(unicodedata.normalize("NFC", text)) if not _is_drawable(each)]
    if missing:
        names = ", ".join(f"{each} (U+{ord(each):04X})" for each in missing[:5])
        return f"these characters cannot be drawn: {names}"
    width, most = _font(_TRIAL).getlength(text) / _TRIAL, SHARE * ROOM
    if width > most:
        return f"the text does not fit into a picture: at most about {int(len(text) * most / width)} characters do"
    return ""


def _is_drawable(character: str) -> bool:
    """Return whether the font has the character. Scripts from right to left need more than a font."""
    if unicodedata.bidirectional(character) in ("R", "AL") or unicodedata.category(character)[0] == "M":
        return False
    return character == " " or _shape(character) != _shape(_UNASSIGNED)


@cache
def _shape(character: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(_TRIAL).getmask(character)
    return mask.size, bytes(mask)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    found = importlib.util.find_spec(PACKAGE)
    places = (found.submodule_search_locations if found else None) or [""]
    try:
        return ImageFont.truetype(Path(places[0], "mpl-data", "fonts", "ttf", FONT), size)
    except OSError as error:
        raise EngineError("engine", f"the font {FONT} is missing: pip install --force-reinstall {PACKAGE}") from error


def picture_of(text: str, width: int, height: int) -> tuple[NDArray[np.uint8], int]:
    """Return the label for an upright picture of this size, as RGBA, and its distance from the edges."""
    text = unicodedata.normalize("NFC", text)
    for size in range(max(LEAST, round(min(width, height) / SHARE)), SMALLEST - 1, -1):
        font, outline, space, distance = _font(size), max(1, size // 12), size // 2, size // 2
        left, _, right, _ = font.getbbox(text, stroke_width=outline)
        across, down = round(right - left) + 2 * space, sum(font.getmetrics()) + space
        if across + 2 * distance <= width and down + 2 * distance <= height:
            image = Image.new("RGBA", (across, down), (0, 0, 0, DARK))
            draw, place = ImageDraw.Draw(image), (space - left, space / 2)
            draw.text(place, text, "white", font, stroke_width=outline, stroke_fill="black")
            return np.array(image, np.uint8), distance
    raise EngineError("label", f"a picture of {width} × {height} pixels is too small for the visible label")


class Tint(NamedTuple):
    """What becomes of a plane: its values times `keep`, and `add`."""

    add: NDArray[np.float32]
    keep: NDArray[np.float32]

    def put(self, plane: NDArray[np.uint8]) -> None:
        plane[:] = np.rint(self.add + plane * self.keep)


@dataclass(frozen=True)
class Overlay:
    """The label at its place in a coded picture: left, top, right and bottom edge, colours (RGB) and opacity (0–1)."""

    edges: tuple[int, int, int, int]
    rgb: NDArray[np.uint8]
    opacity: NDArray[np.float32]

    @classmethod
    def of(cls, text: str, width: int, height: int, turns: int = 0) -> "Overlay":
        """Place the text into a coded picture that is shown after np.rot90(picture, turns)."""
        shown = (width, height) if turns % 2 == 0 else (height, width)
        label, distance = picture_of(text, *shown)
        canvas = np.zeros((shown[1], shown[0], 4), np.uint8)
        bottom = shown[1] - distance
        canvas[bottom - label.shape[0] : bottom, distance : distance + label.shape[1]] = label
        canvas = np.rot90(canvas, -turns)
        down, across = (np.flatnonzero(canvas[..., 3].any(axis)) for axis in (1, 0))
        # Even edges, because chroma may have half the size.
        left, top = across[0] // 2 * 2, down[0] // 2 * 2
        right, below = min(width, across[-1] // 2 * 2 + 2), min(height, down[-1] // 2 * 2 + 2)
        part = canvas[top:below, left:right]
        opacity = part[..., 3] * np.float32(1 / 255)
        return cls((int(left), int(top), int(right), int(below)), part[..., :3].copy(), opacity)

    def layers(self, coding: "Coding", *, halved: bool) -> tuple[Tint, ...]:
        """Return what becomes of Y', Cb and Cr."""
        codes = coding.encode(self.rgb)

        def made() -> Iterator[Tint]:
            for number in range(3):
                add, keep = codes[..., number] * self.opacity, 1 - self.opacity
                yield Tint(_half(add), _half(keep)) if halved and number else Tint(add, keep)

        return tuple(made())

    def put(self, planes: "Planes", layers: tuple[Tint, ...]) -> None:
        """Draw the label into a picture."""
        part = planes.window(*self.edges)
        for plane, layer in zip((part.luma, part.blue, part.red), layers, strict=True):
            layer.put(plane)

    def put_rgb(self, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None) -> None:
        """Draw the label into an RGB picture. It covers transparent parts."""
        left, top, right, bottom = self.edges
        here = np.s_[top:bottom, left:right]
        for number in range(3):
            Tint(self.rgb[..., number] * self.opacity, 1 - self.opacity).put(rgb[here][..., number])
        if alpha is not None:
            Tint(255 * self.opacity, 1 - self.opacity).put(alpha[here])


def _half(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of 2 × 2 values."""
    down, across = values.shape
    return np.asarray(values.reshape(down // 2, 2, across // 2, 2).mean((1, 3)), np.float32)
