"""Stills: read with care, written with a label that says what they are."""

import struct
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from batchswap.errors import EngineError
from batchswap.local.engine.facemesh.geometry import Bytes
from batchswap.local.engine.media import file_types, pillow_reader
from batchswap.local.engine.metadata import exif, label
from batchswap.local.engine.metadata import xmp as packets
from batchswap.local.engine.metadata.xmp import Carried
from batchswap.local.engine.words import noun

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

BY_PILLOW = ("HEIC", "AVIF", "GIF")
JPEGS = (".jpg", ".jpeg")
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""What a JPEG segment begins with that holds XMP (XMP part 3, 1.1.3); OpenCV leaves it to its callers."""
PNG_XMP = b"XML:com.adobe.xmp" + bytes(5)
"""What a PNG's iTXt chunk begins with that holds XMP (XMP part 3, PNG): its keyword; not compressed, in no language."""
PNG_HEAD = 33
"""Bytes of a PNG up to the end of its first chunk (ISO 15948, 5.2 and 11.2.2)."""
TIFFS = (b"II*\0", b"MM\0*")

DEPTHS = (np.uint8, np.uint16)
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
    start = file_types.read_start(path)
    kind = "GIF" if file_types.is_gif(start) else file_types.still_of(start)
    if kind in BY_PILLOW:
        return read_by_pillow(path, kind, culprit)
    try:
        return read_by_opencv(path, culprit)
    except EngineError:
        if kind != "TIFF":  # OpenCV reads none that lies on its side
            raise
        return read_by_pillow(path, kind, culprit)


def read_by_pillow(path: Path, kind: str, culprit: str) -> Picture:
    rgb, alpha, about = pillow_reader.read(path, kind, culprit)
    profile = np.frombuffer(about.get("icc_profile") or b"", np.uint8)
    return Picture(
        rgb,
        alpha,
        profile_of(profile) if profile.size else None,
        exif.carried(about.get("exif") or b""),
        packets.carried(about.get("xmp") or b""),
    )


def read_by_opencv(path: Path, culprit: str) -> Picture:
    try:
        colours, kinds, chunks = cv2.imreadWithMetadata(str(path), cv2.IMREAD_COLOR_RGB)
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise EngineError(culprit, f"the {noun(culprit)} is not a picture that can be read") from error
    if colours is None or not colours.size:
        raise EngineError(culprit, f"the {noun(culprit)} is not a picture that can be read")
    told = dict(reversed(list(zip(kinds, chunks, strict=True))))  # the first of each kind
    chunk = told[cv2.IMAGE_METADATA_EXIF].tobytes() if cv2.IMAGE_METADATA_EXIF in told else b""
    about = chunk or tiff_of(path)
    packet = told[cv2.IMAGE_METADATA_XMP].tobytes() if cv2.IMAGE_METADATA_XMP in told else b""
    return Picture(
        colours,
        alpha_of(raw, exif.orientation(chunk), colours.shape[:2]),
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


def alpha_of(raw: NDArray[Any] | None, orientation: int, size: tuple[int, ...]) -> Bytes | None:
    """The fourth channel of what is stored, brought to 8 bits, and turned as the colours were on reading."""
    if raw is None or raw.ndim != 3 or raw.shape[2] != 4 or raw.dtype not in DEPTHS:
        return None
    stored = raw[..., 3]
    bits = np.asarray(np.rint(stored / np.float32(257)) if raw.dtype == np.uint16 else stored, np.uint8)
    alpha = np.ascontiguousarray(upright(bits, orientation))
    return alpha if alpha.shape == size else None


def upright(stored: Bytes, orientation: int) -> Bytes:
    """One channel (h, w) as it is to be shown (TIFF 6.0, Orientation)."""
    shown = stored.T if orientation > 4 else stored
    across, down = {2: (-1, 1), 3: (-1, -1), 4: (1, -1)}.get((orientation - 1) % 4 + 1, (1, 1))
    return shown[::down, ::across]


def write(path: Path, picture: Picture, task: str) -> None:
    """Encode by the ending of `path`, labelled as synthetic (XMP). Raises EngineError when it cannot be."""
    pixels = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise EngineError("image", f"a still cannot be written as {ending or 'a file without ending'}")
    if picture.alpha is not None and ending not in JPEGS:
        pixels = np.dstack([pixels, picture.alpha])
    packet, metadata = label.xmp(task, picture.xmp).encode(), {}
    if ending != ".png":
        marked = (JPEG_XMP if ending in JPEGS else b"") + packet
        metadata[cv2.IMAGE_METADATA_XMP] = np.frombuffer(marked, np.uint8)
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
    data = encoded.tobytes()
    path.write_bytes(with_xmp(data, packet) if ending == ".png" else data)


def with_xmp(png: bytes, packet: bytes) -> bytes:
    """A PNG with an XMP packet.

    OpenCV writes one as text in Latin-1, and with what stands behind it in memory up to the next zero.
    """
    chunk = b"iTXt" + PNG_XMP + packet
    whole = struct.pack(f">I{len(chunk)}sI", len(chunk) - 4, chunk, zlib.crc32(chunk))
    return png[:PNG_HEAD] + whole + png[PNG_HEAD:]
