"""Check PNG, JPEG, WebP and GIF files from the signature to the end marker, and read their size in pixels."""

import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from batchswap.downloads.media_check.boxes import Incomplete, read_exactly

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

_BLOCK = 1024 * 1024
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # ends a scan: no stuffed byte, restart marker or fill byte
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers whose segment contains the size


def walk_png(file: BinaryIO, size: int) -> str:
    """Check that every chunk is complete with a correct CRC: IHDR first, IDAT somewhere, IEND last."""
    file.seek(len(PNG))
    names: list[bytes] = []
    while not names or names[-1] != b"IEND":
        length, name = struct.unpack(">I4s", read_exactly(file, 8))
        if file.tell() + length + 4 > size:
            raise Incomplete("a chunk does not fit")
        names.append(name)
        if struct.pack(">I", _sum_chunk(file, name, length)) != read_exactly(file, 4):
            raise Incomplete("the checksum of a chunk is wrong")
    if names[0] != b"IHDR" or b"IDAT" not in names:
        raise Incomplete("no IHDR or no IDAT chunk")
    return "image/png"


def _sum_chunk(file: BinaryIO, name: bytes, length: int) -> int:
    total = zlib.crc32(name)
    while length > 0:
        block = read_exactly(file, min(length, _BLOCK))
        total = zlib.crc32(block, total)
        length -= len(block)
    return total


def walk_jpeg(file: BinaryIO, size: int) -> str:
    """Check that segments and scans lead to EOI. An EOI within a segment, such as a thumbnail's, does not count."""
    position, has_scan = 2, False
    while True:
        file.seek(position)
        fill, marker = read_exactly(file, 2)
        if fill != 0xFF:
            raise Incomplete("a marker is missing")
        if marker == _END_OF_IMAGE and has_scan:
            return "image/jpeg"
        position += 1 if marker == 0xFF else 2
        if marker == 0xFF or marker in _ALONE:
            continue
        (length,) = struct.unpack(">H", read_exactly(file, 2))
        if length < 2 or position + length > size:
            raise Incomplete("a segment does not fit")
        position += length
        if marker == _START_OF_SCAN:
            has_scan = True
            position = _find_marker(file, position)


def _find_marker(file: BinaryIO, position: int) -> int:
    """Return the end of the entropy-coded data that starts at `position`."""
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        if found := _IN_SCAN.search(block):
            return position + found.start()
        if len(block) < 2:
            raise Incomplete("it ends within the picture")
        position += len(block) - 1  # a marker may begin with the last byte


def walk_webp(file: BinaryIO, size: int) -> str:
    """Check that chunks fill the RIFF container, and that it fits into the file."""
    file.seek(4)
    end = 8 + int.from_bytes(read_exactly(file, 4), "little")
    position, names = 12, set()
    while position < end <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", read_exactly(file, 8))
        names.add(name)
        position += 8 + length + length % 2
    if position != end or not names & {b"VP8 ", b"VP8L", b"ANMF"}:
        raise Incomplete("its chunks do not fit")
    return "image/webp"


def walk_gif(file: BinaryIO, size: int) -> str:
    """Check that blocks with at least one picture lead to the trailer."""
    file.seek(10)
    flags = read_exactly(file, 3)[0]
    _skip_colours(file, flags)
    has_image = False
    while (kind := read_exactly(file, 1)) != b";":
        if kind == b",":
            has_image = True
            _skip_colours(file, read_exactly(file, 9)[8])
        elif kind != b"!":
            raise Incomplete("an unknown block")
        read_exactly(file, 1)  # the code size, or the extension's label
        while length := read_exactly(file, 1)[0]:
            read_exactly(file, length)
    if not has_image:
        raise Incomplete("no picture in it")
    return "image/gif"


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        read_exactly(file, 3 << ((flags & 7) + 1))


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return the stored width and height of a PNG, JPEG, GIF or WebP in pixels; None for anything else."""
    try:
        with path.open("rb") as file:
            return _read_size(file)
    except (OSError, Incomplete, struct.error):
        return None


def _read_size(file: BinaryIO) -> tuple[int, int] | None:
    start = read_exactly(file, 30)
    if start.startswith(PNG):
        width, height = struct.unpack(">II", start[16:24])
    elif start.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack("<HH", start[6:10])
    elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        width, height = _read_webp(start)
    elif start.startswith(JPEG):
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
