"""File types by their first bytes: supported stills and videos, and some unsupported formats for clear messages.

Sources: ISO/IEC 14496-12, 4.3 (brands); ISO/IEC 23008-12 (HEIF); AV1 Image File Format; each format's own signature.
"""

from pathlib import Path

START = 256
"""Bytes that are enough to recognise any type. A transport stream needs the start of two packets."""

HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
AVIF = frozenset({b"avif", b"avis"})
HEIF = frozenset({b"mif1", b"msf1", b"mif2"})
"""Brands of pictures in any coding. A further brand names the coding."""

CODED = ("HEIC", "AVIF")

STILLS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
FILMS = {
    b"\x1a\x45\xdf\xa3": "Matroska",
    b"FLV\1": "FLV",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "WMV",
    b"OggS": "Ogg",
    b"\0\0\1\xba": "MPEG",
    b"\0\0\1\xb3": "MPEG",
}
FOREIGN = {
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
}
ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""Possible first atoms of MP4 and QuickTime. Files from before 2001 have no `ftyp`."""


def read_start(path: Path) -> bytes:
    """Return the first bytes of a plain file, or nothing for any other path."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(START)


def still_of(start: bytes) -> str:
    """Return the name of the still's format, or "" if it is no still."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        return coded_still(brands(start))
    return next((name for mark, name in STILLS.items() if start.startswith(mark)), "")


def coded_still(found: list[bytes]) -> str:
    """Return the format of a still with these brands, or "" for a film. The first brand decides."""
    if not found or found[0] not in HEIC | AVIF | HEIF:
        return ""
    return "AVIF" if AVIF & set(found) and not HEIC & set(found[:1]) else "HEIC"


def brands(start: bytes) -> list[bytes]:
    """Return the major brand and the compatible brands."""
    end = min(len(start), int.from_bytes(start[:4], "big"))
    return [start[8:12], *(start[place : place + 4] for place in range(16, end - 3, 4))]


def is_gif(start: bytes) -> bool:
    return start.startswith((b"GIF87a", b"GIF89a"))


def film_of(start: bytes) -> str:
    """Return the name of the film's format, or "" if it is no film. A GIF can be a film or a still."""
    if is_gif(start):
        return "GIF"
    if start[4:8] in ATOMS and not still_of(start):
        return "MP4 or QuickTime"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "AVI"
    if any(len(start) > gap + 188 and start[gap] == start[gap + step] == 0x47 for gap, step in ((0, 188), (4, 192))):
        return "MPEG transport stream"
    return next((name for mark, name in FILMS.items() if start.startswith(mark)), "")


def foreign(start: bytes) -> str:
    """Return the name of an unsupported format of pictures or pages, or ""."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "SVG" if b"<svg" in text[:START] else next((n for mark, n in FOREIGN.items() if start.startswith(mark)), "")
