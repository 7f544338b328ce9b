"""The fast way for the rows that most large files consist of: URLs, short ids, printable text, nothing quoted.

`Plain` recognises such a line, or a whole block of them, by one regular expression, made from the header, and builds
the rows. Whatever it does not recognise it leaves to separated.py and rows.py, which are the authority: a line that is
taken here would give the very same row there (tests/pure/test_manifest_plain.py).
"""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter

from batchswap.manifest.fields import checked_tags, is_kept, split_tags
from batchswap.manifest.outputs import ending
from batchswap.manifest.separated import Header
from batchswap.tasks import Model, Row

# Each is narrower than what the full check allows.
URL = r"https?://[A-Za-z0-9][A-Za-z0-9.-]{{0,250}}/[!#-+\--:<-~{more}]{{0,1700}}"
KEY = r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?![\w-]))[A-Za-z0-9](?:[\w.-]{0,98}[\w-])?"
TEXT = r"(?! )[ !#-+\--:<-~\xa1-\xac\xae-\u024f{more}]{{0,400}}(?<! )"
TAGS = r"[ !#-+\--~]{0,100}"  # so no more than 50 of them
TAGS_BESIDE_SEMICOLONS = r"[ !#-+\--:<-~]{0,100}"
ABSENT = ""


def pattern(header: Header, *, require_consent: bool) -> str:
    """A plain row without the end of its line, with a group for each column and one, always empty, at the end."""
    more = "".join(c for c in ",;" if c != header.separator)
    url, text = URL.format(more=more), TEXT.format(more=more)
    kinds = {
        "id": f"(?:{KEY})?",
        "video": url,
        "image": ABSENT if "video" in header.names else url,
        "face": url,
        "consent": rf"(?=[^{header.separator}\s]){text}" if require_consent else text,
        "tags": TAGS_BESIDE_SEMICOLONS if header.separator == ";" else TAGS,
        "repeat": "1?",
    }
    columns = (kinds.get(name, text if is_kept(name) else ABSENT) for name in header.names)
    return f"(?!# ){header.separator.join(f'({kind})' for kind in columns)}()"


@lru_cache(maxsize=4096)
def known_tags(text: str) -> tuple[str, ...]:
    return checked_tags(split_tags(text))


class Plain:
    """The plain rows below one header, which has a target and a face. `head` is what their outputs begin with."""

    def __init__(self, header: Header, head: str, *, require_consent: bool) -> None:
        row = pattern(header, require_consent=require_consent)
        self._one = re.compile(rf"{row}(?:\r?\n)?\Z", re.ASCII)
        self._many = re.compile(rf"^{row}\r?\n", re.ASCII | re.MULTILINE)
        self._made = made(header, head)

    def row(self, number: int, line: str) -> Row | None:
        """The row of a line; None when the line is not plain."""
        found = self._one.match(line)
        return None if found is None else self._made(number, found.groups())

    def rows(self, number: int, block: str) -> list[Row] | None:
        """The rows of a block that begins with line `number`; None unless all its lines are plain, and whole."""
        # To look for plain lines among others costs more than to read them: what can be known before is asked before.
        if '"' in block or "\n# " in block or not block.endswith("\n") or not self._many.match(block):
            return None
        found = self._many.findall(block)
        if len(found) != block.count("\n"):
            return None
        build = self._made
        return [build(line, cells) for line, cells in enumerate(found, number)]


def made(header: Header, head: str) -> Callable[[int, tuple[str, ...]], Row]:
    """(line number, what the groups of `pattern` found) -> the row."""
    names = header.names
    model = Model.VIDEO if "video" in names else Model.IMAGE
    wanted = ("id", model.target_field.removesuffix("_url"), "face", "consent", "tags")
    chosen = itemgetter(*(names.index(name) if name in names else len(names) for name in wanted))
    kept = [(name, number) for number, name in enumerate(names) if is_kept(name)]
    start, suffix, sha256 = f"{model}\0", ".mp4" if model is Model.VIDEO else "", hashlib.sha256

    def row(number: int, cells: tuple[str, ...]) -> Row:
        key, target, face, consent, tags = chosen(cells)
        # As content_digest does it, without its general case.
        digest = sha256(f"{start}{target}\0{face}".encode()).hexdigest()[:20]
        key = key or digest
        output = f"{head}{key}{suffix or ending(model, target)}"
        extra = tuple([(name, text) for name, at in kept if (text := cells[at])]) if kept else ()
        return Row(key, digest, model, target, face, output, number, (), consent, known_tags(tags), extra)

    return row
