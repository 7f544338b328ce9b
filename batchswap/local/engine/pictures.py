"""Stills: read with care, written with a label that says what they are."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from batchswap.errors import EngineError
from batchswap.local.engine import label
from batchswap.local.engine.geometry import Bytes

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_WEBP_QUALITY, 95]


@dataclass(frozen=True)
class Picture:
    """`rgb` is (h, w, 3), upright; `alpha` (h, w) and the colour profile are as the file has them, or None."""

    rgb: Bytes
    alpha: Bytes | None = None
    profile: Bytes | None = None


def read(path: Path, culprit: str) -> Picture:
    """Decode a still. Raises EngineError(culprit, …) when it cannot be."""
    try:
        colours, kinds, chunks = cv2.imreadWithMetadata(str(path), cv2.IMREAD_COLOR_RGB)
        alpha = alpha_of(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), colours)
    except cv2.error as error:
        raise EngineError(culprit, f"the {culprit} is not a picture that can be read") from error
    if colours is None or not colours.size:
        raise EngineError(culprit, f"the {culprit} is not a picture that can be read")
    profiles = [chunk for kind, chunk in zip(kinds, chunks, strict=True) if kind == cv2.IMAGE_METADATA_ICCP]
    return Picture(colours, alpha, profiles[0] if profiles else None)


def alpha_of(raw: Bytes | None, colours: Bytes | None) -> Bytes | None:
    """The fourth channel of an 8-bit picture; a picture that was turned on reading has none."""
    if raw is None or colours is None or raw.dtype != np.uint8 or raw.shape != (*colours.shape[:2], 4):
        return None
    return raw[..., 3].copy()


def write(path: Path, picture: Picture, task: str) -> None:
    """Encode by the ending of `path`, labelled as synthetic (XMP). Raises EngineError for an unknown ending."""
    pixels = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise EngineError("image", f"a still cannot be written as {ending or 'a file without ending'}")
    if picture.alpha is not None and ending not in (".jpg", ".jpeg"):
        pixels = np.dstack([pixels, picture.alpha])
    kinds = [cv2.IMAGE_METADATA_XMP]
    chunks = [np.frombuffer(label.xmp(task).encode(), np.uint8)]
    if picture.profile is not None:
        kinds.append(cv2.IMAGE_METADATA_ICCP)
        chunks.append(picture.profile)
    _, encoded = cv2.imencodeWithMetadata(ending, pixels, kinds, chunks, QUALITY)
    path.write_bytes(encoded.tobytes())
