"""Stills: read with care, written with a label that says what they are."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from batchswap.errors import EngineError
from batchswap.local.engine import exif, label, packets
from batchswap.local.engine.geometry import Bytes
from batchswap.local.engine.packets import Carried
from batchswap.local.engine.words import noun

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

JPEGS = (".jpg", ".jpeg")
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""What a JPEG segment begins with that holds XMP (XMP part 3, 1.1.3); OpenCV leaves it to its callers."""
TIFFS = (b"II*\0", b"MM\0*")

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_WEBP_QUALITY, 95]


@dataclass(frozen=True)
class Picture:
    """`rgb` is (h, w, 3), upright; `alpha` (h, w) and the colour profile are as the file has them, or None.

    `exif` and `xmp` are what is carried over of the file's own.
    """

    rgb: Bytes
    alpha: Bytes | None = None
    profile: Bytes | None = None
    exif: bytes | None = None
    xmp: Carried = field(default_factory=Carried)


def read(path: Path, culprit: str) -> Picture:
    """Decode a still. Raises EngineError(culprit, …) when it cannot be."""
    try:
        colours, kinds, chunks = cv2.imreadWithMetadata(str(path), cv2.IMREAD_COLOR_RGB)
        alpha = alpha_of(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), colours)
    except cv2.error as error:
        raise EngineError(culprit, f"the {noun(culprit)} is not a picture that can be read") from error
    if colours is None or not colours.size:
        raise EngineError(culprit, f"the {noun(culprit)} is not a picture that can be read")
    told = dict(reversed(list(zip(kinds, chunks, strict=True))))  # the first of each kind
    about = told[cv2.IMAGE_METADATA_EXIF].tobytes() if cv2.IMAGE_METADATA_EXIF in told else tiff_of(path)
    packet = told[cv2.IMAGE_METADATA_XMP].tobytes() if cv2.IMAGE_METADATA_XMP in told else b""
    return Picture(
        colours,
        alpha,
        profile_of(told.get(cv2.IMAGE_METADATA_ICCP)),
        exif.carried(about),
        packets.carried(packet.removeprefix(JPEG_XMP)),
    )


def profile_of(chunk: Bytes | None) -> Bytes | None:
    """Only one for RGB (ICC.1, 7.2.6): grey and CMYK were turned into that on reading."""
    return chunk if chunk is not None and chunk.tobytes()[16:20] == b"RGB " else None


def tiff_of(path: Path) -> bytes:
    """A TIFF file has its tags where the others have their EXIF. Nothing of any other."""
    with path.open("rb") as file:
        start = file.read(4)
        return start + file.read() if start in TIFFS else b""


def alpha_of(raw: Bytes | None, colours: Bytes | None) -> Bytes | None:
    """The fourth channel of an 8-bit picture; a picture that was turned on reading has none."""
    if raw is None or colours is None or raw.dtype != np.uint8 or raw.shape != (*colours.shape[:2], 4):
        return None
    return raw[..., 3].copy()


def write(path: Path, picture: Picture, task: str) -> None:
    """Encode by the ending of `path`, labelled as synthetic (XMP). Raises EngineError when it cannot be."""
    pixels = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise EngineError("image", f"a still cannot be written as {ending or 'a file without ending'}")
    if picture.alpha is not None and ending not in JPEGS:
        pixels = np.dstack([pixels, picture.alpha])
    packet = (JPEG_XMP if ending in JPEGS else b"") + label.xmp(task, picture.xmp).encode()
    metadata = {cv2.IMAGE_METADATA_XMP: np.frombuffer(packet, np.uint8)}
    if picture.exif is not None:
        metadata[cv2.IMAGE_METADATA_EXIF] = np.frombuffer(picture.exif, np.uint8)
    if picture.profile is not None:
        metadata[cv2.IMAGE_METADATA_ICCP] = picture.profile
    encode = partial(cv2.imencodeWithMetadata, ending, pixels)
    done, encoded = encode(list(metadata), list(metadata.values()), QUALITY)
    if not done:  # a profile too long for the format, or that its library finds unsound
        metadata.pop(cv2.IMAGE_METADATA_ICCP, None)
        done, encoded = encode(list(metadata), list(metadata.values()), QUALITY)
    if not done:
        raise EngineError("image", f"the result cannot be written as {ending}")
    path.write_bytes(encoded.tobytes())
