"""Whether a still was cut off: its decoder fills what is missing with grey and says nothing.

JPEG: ITU-T T.81, annex B. PNG: its specification, section 5 (https://www.w3.org/TR/png-3/#5DataRep).
"""

import re

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
"""Of a segment, or the end. Between scans and after a segment anything else is skipped, as decoders do: coded data
(FF 00), restarts, filling."""
END, SCAN = b"\xd9", b"\xda"


def is_cut_off(data: bytes) -> bool:
    """Of a whole file. False for any other kind of picture: its decoder refuses a cut one."""
    if data.startswith(JPEG):
        return not jpeg_ends(data)
    return data.startswith(PNG) and not png_ends(data)


def jpeg_ends(data: bytes) -> bool:
    """Whether the end follows the picture itself. Its EXIF may hold a small picture with an end of its own."""
    place, scanned = 2, False
    while found := MARKER.search(data, place):
        if found[1] == END:
            return scanned
        scanned = scanned or found[1] == SCAN
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return False


def png_ends(data: bytes) -> bool:
    """Whether its chunks lead to the last one."""
    place = len(PNG)
    while place + 12 <= len(data):
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False
