"""Read the boxes and the length of MP4 and MOV files. The other formats use the helpers too."""

import struct
from pathlib import Path
from typing import BinaryIO

LONGEST = 100 * 3600.0
"""The longest plausible movie in seconds. A header with more is wrong."""


class Incomplete(Exception):
    """The file ends too early, or its parts do not fit together. Not raised outside of this package."""


def read_exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise Incomplete("it ends too early")
    return data


def read_box(file: BinaryIO, position: int, limit: int) -> tuple[str, int, int]:
    """Return the name, the start of the body and the end of the box at `position`."""
    file.seek(position)
    length, name = struct.unpack(">I4s", read_exactly(file, 8))
    body = position + 8
    if length == 1:
        (length,) = struct.unpack(">Q", read_exactly(file, 8))
        body += 8
    elif length == 0:
        length = limit - position
    if length < body - position or position + length > limit:
        raise Incomplete(f"the box at byte {position} does not fit")
    return name.decode("latin-1"), body, position + length


def movie_seconds(path: Path) -> float | None:
    """Return the length of an MP4 or MOV file in seconds from its header (ISO/IEC 14496-12, mvhd, else mehd).

    None for other files, or if the header does not contain it. Only some hundred bytes are read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            moov = _find(file, "moov", 0, size)
            found = None if moov is None else _read_header(file, *moov)
    except (OSError, Incomplete, struct.error):
        return None
    return found if found is not None and 0.0 < found <= LONGEST else None


def _find(file: BinaryIO, wanted: str, position: int, limit: int) -> tuple[int, int] | None:
    """Return the start and the end of the body of the first box with this name."""
    while position < limit:
        name, body, end = read_box(file, position, limit)
        if name == wanted:
            return body, end
        position = end
    return None


def _read_header(file: BinaryIO, start: int, end: int) -> float | None:
    found = _find(file, "mvhd", start, end)
    if found is None:
        return None
    file.seek(found[0])
    version = read_exactly(file, 4)[0]
    file.seek(found[0] + (20 if version == 1 else 12))
    timescale, duration = struct.unpack(">IQ" if version == 1 else ">II", read_exactly(file, 12 if version == 1 else 8))
    if not timescale:
        return None
    if not duration:  # a fragmented file has its length in another box
        duration = _read_fragmented(file, start, end)
    return float(duration / timescale)


def _read_fragmented(file: BinaryIO, start: int, end: int) -> int:
    extends = _find(file, "mvex", start, end)
    header = None if extends is None else _find(file, "mehd", *extends)
    if header is None:
        return 0
    file.seek(header[0])
    version = read_exactly(file, 4)[0]
    return int.from_bytes(read_exactly(file, 8 if version == 1 else 4), "big")
