"""Decode bodies that a media host compressed against the request's Accept-Encoding. Pure."""

import zlib

from batchswap.errors import DownloadError

_GZIP = b"\x1f\x8b"


class Decoder:
    """Decodes gzip and deflate. Other bytes pass unchanged, whatever the header says."""

    def __init__(self) -> None:
        self._fed = b""
        self._inner: zlib._Decompress | None = None
        self._is_plain = False

    def feed(self, piece: bytes) -> None:
        """Add received bytes."""
        self._fed += piece
        if self._inner is None and not self._is_plain and len(self._fed) >= 2:
            is_coded = self._fed.startswith(_GZIP) or _begins_zlib(self._fed)
            self._is_plain = not is_coded
            self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32) if is_coded else None

    def take(self, most: int) -> bytes:
        """Return up to `most` decoded bytes; none if more input is needed. Raise DownloadError "not-media"."""
        if self._is_plain:
            fed, self._fed = self._fed, b""
            return fed
        if self._inner is None:
            return b""
        if self._inner.eof:
            self._fed = self._inner.unused_data + self._fed
            if not self._fed.startswith(_GZIP):
                return b""  # these bytes follow the end of the compressed data
            self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32)  # a gzip file may have several members
        try:
            plain = self._inner.decompress(self._fed, most)
        except zlib.error:
            raise DownloadError("not-media", "the media host sent damaged compressed data") from None
        self._fed = self._inner.unconsumed_tail
        return plain

    @property
    def is_whole(self) -> bool:
        """True if the end of the compressed data was reached."""
        return self._inner is None or self._inner.eof


def _begins_zlib(data: bytes) -> bool:
    """Return whether data begins as in RFC 1950, 2.2: a window of up to 32 KiB, and a valid check of both bytes."""
    return data[0] & 0x8F == 0x08 and int.from_bytes(data[:2], "big") % 31 == 0
