"""How large a picture is, by its own header. Sources as in `containers`; RFC 9649 for WebP."""

import struct
from pathlib import Path
from typing import BinaryIO

from batchswap.downloads.media_check import pictures
from batchswap.downloads.media_check.parsing import Incomplete, read_exactly

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers whose segment holds the size."""


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels as stored, of a PNG, JPEG, GIF or WebP; None for anything else."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, Incomplete, struct.error):
        return None


def _read(file: BinaryIO) -> tuple[int, int] | None:
    start = read_exactly(file, 30)
    if start.startswith(pictures.PNG):
        width, height = struct.unpack(">II", start[16:24])
    elif start.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack("<HH", start[6:10])
    elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        width, height = _read_webp(start)
    elif start.startswith(pictures.JPEG):
        width, height = _read_jpeg(file)
    else:
        return None
    return width, height


def _read_webp(start: bytes) -> tuple[int, int]:
    match start[12:16]:
        case b"VP8X":
            return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
        case b"VP8L":
            packed = int.from_bytes(start[21:25], "little")
            return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack("<HH", start[26:30])
            return width & 0x3FFF, height & 0x3FFF
    raise Incomplete("an unknown kind of WebP")


def _read_jpeg(file: BinaryIO) -> tuple[int, int]:
    position = 2
    while True:
        file.seek(position)
        mark, kind, length = struct.unpack(">BBH", read_exactly(file, 4))
        if mark != 0xFF:
            raise Incomplete("a marker is missing")
        if kind in _FRAMES:
            height, width = struct.unpack(">xHH", read_exactly(file, 5))
            return width, height
        position += 2 + length
