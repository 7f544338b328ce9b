"""The fast way for the rows that most large files consist of: URLs, short ids, printable text, nothing quoted.

`plain_row` gives a function that recognises such a line by one regular expression, made from the header, and builds its
row. Whatever it does not recognise it leaves to separated.py and rows.py, which are the authority: a line that is taken
here would give the very same row there (tests/pure/test_manifest_plain.py).
"""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache

from batchswap.manifest.fields import checked_tags, is_kept, split_tags
from batchswap.manifest.outputs import ending
from batchswap.manifest.separated import Header
from batchswap.tasks import Model, Row

PlainRow = Callable[[int, str], Row | None]

# Each is narrower than what the full check allows.
URL = r"https?://[A-Za-z0-9][A-Za-z0-9.-]{{0,250}}/[!#-+\--:<-~{more}]{{0,1700}}"
KEY = r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?![\w-]))[A-Za-z0-9](?:[\w.-]{0,98}[\w-])?"
TEXT = r"(?! )[ !#-+\--:<-~\xa1-\xac\xae-\u024f{more}]{{0,400}}(?<! )"
TAGS = r"[ !#-+\--~]{0,100}"  # so no more than 50 of them
TAGS_BESIDE_SEMICOLONS = r"[ !#-+\--:<-~]{0,100}"
ABSENT = ""


def pattern(header: Header, *, require_consent: bool) -> re.Pattern[str]:
    """One line of a plain row, with a group for each column and one, always empty, at the end."""
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
    row = header.separator.join(f"({kind})" for kind in columns)
    return re.compile(rf"(?!#){row}()(?:\r?\n)?\Z", re.ASCII)


@lru_cache(maxsize=4096)
def known_tags(text: str) -> tuple[str, ...]:
    return checked_tags(split_tags(text))


def plain_row(header: Header, head: str, *, require_consent: bool) -> PlainRow | None:
    """(line number, line) -> its row, or None when the line is not plain. `head` is what outputs begin with.

    None when this header has no plain rows at all: they need a target and a face.
    """
    names = header.names
    model = Model.VIDEO if "video" in names else Model.IMAGE
    if "face" not in names:
        return None
    match = pattern(header, require_consent=require_consent).match
    wanted = ("id", model.target_field.removesuffix("_url"), "face", "consent", "tags")
    group = [names.index(name) + 1 if name in names else len(names) + 1 for name in wanted]
    kept = [(name, number) for number, name in enumerate(names, 1) if is_kept(name)]
    start, suffix, sha256 = f"{model}\0", ".mp4" if model is Model.VIDEO else "", hashlib.sha256

    def row(number: int, line: str) -> Row | None:
        if (found := match(line)) is None:
            return None
        key, target, face, consent, tags = found.group(*group)
        # As content_digest does it, without its general case.
        digest = sha256(f"{start}{target}\0{face}".encode()).hexdigest()[:20]
        key = key or digest
        output = f"{head}{key}{suffix or ending(model, target)}"
        extra = tuple([(name, text) for name, at in kept if (text := found[at])]) if kept else ()
        return Row(key, digest, model, target, face, output, number, (), consent, known_tags(tags), extra)

    return row
