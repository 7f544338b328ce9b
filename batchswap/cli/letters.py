"""Letters under a locale that is not UTF-8: file names are UTF-8 all the same, and a terminal shows what it can."""

import codecs
import os
import sys
from contextlib import suppress
from pathlib import Path

LOOK_ALIKE = "batchswap-look-alike"
"""An error handler, for streams and `encode`."""
_PRINTED = "batchswap-printed"
"""A -X option: the encoding of the standard streams, from the process that started this one again."""
_ALIKE = {"…": "~", "·": "|", "×": "x", "→": ">", "–": "-"}


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_ALIKE.get(c) or c.encode("ascii", "backslashreplace").decode() for c in letters), error.end


codecs.register_error(LOOK_ALIKE, _replaced)


def use_utf8() -> None:
    """Start Python again in its UTF-8 mode, unless the locale has UTF-8 file names already.

    The same row then has the same file at a terminal and in cron. Nothing is done when an argument, the working
    directory or the home has a name in the locale's own encoding, which would not be text in UTF-8.
    """
    if sys.flags.utf8_mode or not sys.executable or codecs.lookup(sys.getfilesystemencoding()).name == "utf-8":
        return
    with suppress(OSError, UnicodeDecodeError):
        names = [*map(os.fsencode, sys.orig_argv), os.fsencode(Path.cwd()), os.environb.get(b"HOME", b"")]
        b"".join(names).decode()
        stream = sys.stderr or sys.stdout
        printed = [] if stream is None else ["-X", f"{_PRINTED}={stream.encoding}"]
        arguments = [sys.executable, "-X", "utf8", *printed, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606 - this very program


def make_printable() -> None:
    """No letter is an error on a standard stream."""
    encoding = sys._xoptions.get(_PRINTED)  # noqa: SLF001 - documented, in spite of its name
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=encoding if isinstance(encoding, str) else None, errors=LOOK_ALIKE)


def as_shown(text: str, encoding: str) -> str:
    """The text as such a stream shows it: what is to be aligned must be measured so."""
    return text.encode(encoding, LOOK_ALIKE).decode(encoding)
