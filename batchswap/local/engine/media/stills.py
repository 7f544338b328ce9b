"""Read and write stills with Pillow: upright when read, labelled as synthetic when written."""

import contextlib
import importlib
import io
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from batchswap.errors import EngineError
from batchswap.local.engine.facemesh.geometry import ByteArray
from batchswap.local.engine.media import file_types
from batchswap.local.engine.metadata import exif, label
from batchswap.local.engine.metadata import xmp as packets
from batchswap.local.engine.metadata.xmp import Carried
from batchswap.local.engine.values import noun

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
JPEGS = (".jpg", ".jpeg")

BY_PLUGIN = ("HEIC", "AVIF", "GIF")
"""Formats that need a plugin or are rarely readable. Messages name them."""
MOST_PIXELS = 100_000_000
UNSOUND = (OSError, ValueError, SyntaxError, RuntimeError, EOFError, LookupError, TypeError, struct.error)
"""Errors of Pillow for a damaged file, or for values that a format cannot hold."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. `ImageOps.exif_transpose` would also follow XMP, unlike viewers."""

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
"""A segment's marker, or the end. Coded data (FF 00), restarts and filling are skipped, as decoders do."""
END, SCAN = b"\xd9", b"\xda"


@dataclass(frozen=True)
class Picture:
    """A decoded still: `rgb` (h, w, 3) is upright. `alpha` is (h, w) or None.

    `profile`, `exif` and `xmp` are metadata of the source file for the result. `packet` is its whole XMP.
    """

    rgb: ByteArray
    alpha: ByteArray | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: Carried = field(default_factory=Carried)
    packet: bytes = b""


def read(path: Path, culprit: str) -> Picture:
    """Decode a still, or the first picture of an animation. Raises EngineError(culprit, …) when that fails."""
    start = file_types.read_start(path)
    kind = "GIF" if file_types.is_gif(start) else file_types.still_of(start)
    with warnings.catch_warnings(action="ignore"), opened(path, kind, culprit) as image:
        if image.width * image.height > MOST_PIXELS:
            raise EngineError(culprit, f"the {noun(culprit)} has more than {MOST_PIXELS // 10**6} megapixels")
        try:
            image.load()
            about = dict(image.info)
            given = path.read_bytes() if kind == "TIFF" else about.get("exif") or b""
            # Pillow has already turned a TIFF, and pillow-heif a HEIC.
            turn = TURNS.get(exif.orientation(given)) if kind not in ("TIFF", "HEIC") else None
            shown = in_eight_bits(image if turn is None else image.transpose(turn))
            clear = shown.has_transparency_data
            pixels = np.array(shown.convert("RGBA" if clear else "RGB"), np.uint8)
        except UNSOUND as error:
            raise damaged(culprit, kind) from error
    packet = about.get("xmp") or b""
    return Picture(
        pixels[..., :3].copy() if clear else pixels,
        pixels[..., 3].copy() if clear else None,
        profile_of(about.get("icc_profile")),
        exif.carried(given),
        packets.carried(packet),
        packet,
    )


@contextlib.contextmanager
def opened(path: Path, kind: str, culprit: str) -> Iterator[Image.Image]:
    try:
        if kind == "HEIC":
            importlib.import_module("pillow_heif").register_heif_opener()
        image = Image.open(path, formats=["HEIF" if kind == "HEIC" else kind or "none"])
    except ImportError as error:
        raise unreadable(culprit, kind, "pip install 'batchswap[local]'") from error
    except (*UNSOUND, Image.DecompressionBombError) as error:
        raise (unreadable if kind in BY_PLUGIN else damaged)(culprit, kind) from error
    with image:
        yield image


def damaged(culprit: str, kind: str) -> EngineError:
    if kind in BY_PLUGIN:
        return EngineError(culprit, f"the {noun(culprit)} is a damaged {kind} picture: export it as JPEG")
    return EngineError(culprit, f"the {noun(culprit)} is damaged or not a picture: use JPEG, PNG or WebP")


def unreadable(culprit: str, kind: str, remedy: str = "") -> EngineError:
    what = f"the {noun(culprit)} is a {kind} picture, which cannot be read here: export it as JPEG"
    return EngineError(culprit, f"{what}, or {remedy}" if remedy else what)


def in_eight_bits(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8 bits. Pillow itself would clip it at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.clip(np.asarray(image, np.int64) >> 8, 0, 255).astype(np.uint8))


def profile_of(profile: bytes | None) -> bytes | None:
    """Return a profile if it is for RGB (ICC.1, 7.2.6). One for grey or CMYK does not fit the RGB result."""
    return profile if profile and profile[16:20] == b"RGB " else None


def write(path: Path, picture: Picture, task: str | None) -> None:
    """Encode a still in the format of the suffix of `path`, labelled as synthetic (XMP). Raises EngineError.

    With None for the `task`, it keeps its XMP as it is, without another label.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise EngineError("image", f"cannot write a still as {ending or 'a file without suffix'}: use .png or .jpg")
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None and ending not in JPEGS:
        image.putalpha(Image.fromarray(picture.alpha))
    packet = picture.packet if task is None else label.xmp(task, picture.xmp).encode()
    options: dict[str, Any] = {"exif": b"Exif\0\0" + picture.exif if picture.exif else b""}
    options["icc_profile"] = picture.profile
    if ending == ".png":
        text = PngInfo()
        if packet:
            text.add_itxt("XML:com.adobe.xmp", packet.decode("utf-8", "replace"))
        options |= {"pnginfo": text, "compress_level": 1}
    else:
        options |= {"xmp": packet, "quality": 95}
    encoded = io.BytesIO()
    try:
        image.save(encoded, Image.registered_extensions()[ending], **options)
    except UNSOUND as error:
        raise EngineError("image", f"cannot write the result as {ending}: use .png") from error
    path.write_bytes(encoded.getvalue())


def is_cut_off(data: bytes) -> bool:
    """Return whether a JPEG (ITU-T T.81, annex B) or PNG file lacks its end. Decoders detect this in other formats.

    Pillow accepts a JPEG without its last bytes, and does not distinguish a cut-off PNG from a damaged one.
    """
    if data.startswith(JPEG):
        return not jpeg_ends(data)
    return data.startswith(PNG) and not png_ends(data)


def jpeg_ends(data: bytes) -> bool:
    """Return whether an end marker follows the main picture. A thumbnail in its EXIF has its own end marker."""
    place, scanned = 2, False
    while found := MARKER.search(data, place):
        if found[1] == END:
            return scanned
        scanned = scanned or found[1] == SCAN
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return False


def png_ends(data: bytes) -> bool:
    """Return whether the chunks lead to the last one."""
    place = len(PNG)
    while place + 12 <= len(data):
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False
