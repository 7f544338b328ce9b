"""What a terminal shows of letters that its encoding has not: a look-alike as wide, else the letter's code."""

import codecs
import sys

LOOK_ALIKE = "batchswap-look-alike"
"""An error handler, for streams and `encode`."""
_ALIKE = {"…": "~", "·": "|", "×": "x", "→": ">", "–": "-"}


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_ALIKE.get(c) or c.encode("ascii", "backslashreplace").decode() for c in letters), error.end


codecs.register_error(LOOK_ALIKE, _replaced)


def make_printable() -> None:
    """No letter is an error on a standard stream."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=LOOK_ALIKE)


def as_shown(text: str, encoding: str) -> str:
    """The text as such a stream shows it: what is to be aligned must be measured so."""
    return text.encode(encoding, LOOK_ALIKE).decode(encoding)
