"""Pictures that OpenCV does not read, or not upright: HEIC and AVIF from phones and the web, and GIF; read by Pillow.

Of a moving picture, the first one is read.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from batchswap.errors import EngineError
from batchswap.local.engine.facemesh.geometry import Bytes
from batchswap.local.engine.words import noun

MOST_PIXELS = 100_000_000


def read(path: Path, kind: str, culprit: str) -> tuple[Bytes, Bytes | None, dict[str, Any]]:
    """Return the picture, upright (h, w, 3), its transparency (h, w) or None, and what the file says besides.

    Raises EngineError(culprit, …) that names the format.
    """
    with opened(path, kind, culprit) as image:
        if image.width * image.height > MOST_PIXELS:
            raise EngineError(culprit, f"the {noun(culprit)} has more than {MOST_PIXELS // 10**6} megapixels")
        about = dict(image.info)
        try:
            shown = importlib.import_module("PIL.ImageOps").exif_transpose(image)
            clear = shown.has_transparency_data
            pixels = np.asarray(shown.convert("RGBA" if clear else "RGB"), np.uint8)
        except (OSError, ValueError, SyntaxError, RuntimeError, EOFError) as error:
            raise EngineError(culprit, f"the {noun(culprit)} is a damaged {kind} picture: export it as JPEG") from error
    return pixels[..., :3].copy(), pixels[..., 3].copy() if clear else None, about


def opened(path: Path, kind: str, culprit: str) -> Any:
    try:
        if kind == "HEIC":
            importlib.import_module("pillow_heif").register_heif_opener()
        library = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise unreadable(culprit, kind, "pip install 'batchswap[local]'") from error
    try:
        return library.open(path, formats=["HEIF" if kind == "HEIC" else kind])
    except (OSError, ValueError, SyntaxError) as error:
        raise unreadable(culprit, kind) from error


def unreadable(culprit: str, kind: str, remedy: str = "") -> EngineError:
    what = f"the {noun(culprit)} is a {kind} picture, which cannot be read here: export it as JPEG"
    return EngineError(culprit, f"{what}, or {remedy}" if remedy else what)
