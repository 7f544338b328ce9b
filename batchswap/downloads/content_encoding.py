"""Bodies that a media host compressed although it was asked not to. Pure."""

import zlib

from batchswap.errors import DownloadError

_GZIP = b"\x1f\x8b"


class Decoder:
    """Takes gzip and deflate apart. Bytes that are neither, whatever the label says, pass as they come."""

    def __init__(self) -> None:
        self._fed = b""
        self._inner: zlib._Decompress | None = None
        self._is_plain = False

    def feed(self, piece: bytes) -> None:
        """Add bytes as they came."""
        self._fed += piece
        if self._inner is None and not self._is_plain and len(self._fed) >= 2:
            is_coded = self._fed.startswith(_GZIP) or _begins_zlib(self._fed)
            self._is_plain = not is_coded
            self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32) if is_coded else None

    def take(self, most: int) -> bytes:
        """Return up to `most` decoded bytes; none when more must be fed first. Raises DownloadError "not-media"."""
        if self._is_plain:
            fed, self._fed = self._fed, b""
            return fed
        if self._inner is None:
            return b""
        if self._inner.eof:
            self._fed = self._inner.unused_data + self._fed
            if not self._fed.startswith(_GZIP):
                return b""  # behind the end of the compressed data
            self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32)  # a gzip file may have several members
        try:
            plain = self._inner.decompress(self._fed, most)
        except zlib.error:
            raise DownloadError("not-media", "the media host sent a damaged compressed answer") from None
        self._fed = self._inner.unconsumed_tail
        return plain

    @property
    def is_whole(self) -> bool:
        """Whether the compressed data has come to its end."""
        return self._inner is None or self._inner.eof


def _begins_zlib(data: bytes) -> bool:
    """The two bytes of RFC 1950, 2.2: deflate with a window of up to 32 KiB, and a check sum over both."""
    return data[0] & 0x8F == 0x08 and int.from_bytes(data[:2], "big") % 31 == 0
