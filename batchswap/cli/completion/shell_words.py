"""Read a command line up to the cursor as bash does, and quote words for it. Pure: text in, text out."""

import re
from typing import NamedTuple

_BLANKS = " \t\n"
_SPECIAL = re.compile(r"[^\w@%+=:,./-]")
"""Characters that bash might not take literally outside of quotes."""


class Typed(NamedTuple):
    """The words before the cursor, without their quotes. `word` is the one at the cursor."""

    words: list[str]
    word: str
    quote: str
    """The quote that is still open at the cursor, or ""."""
    kept: str
    """The start of `word` that bash keeps. It replaces only the rest: what follows an open quote or a break."""


def parse(line: str, breaks: str = "") -> Typed:
    """Split a line that ends at the cursor. `breaks` are characters that divide a word, as in COMP_WORDBREAKS."""
    words: list[str] = []
    word = quote = after_break = after_quote = ""
    is_begun = False
    characters = iter(line)
    for each in characters:
        if each == "\\" and quote != "'":
            escaped = next(characters, "")
            word += escaped if not quote or escaped in '"\\$`' else f"\\{escaped}"
        elif quote:
            quote, word = ("", word) if each == quote else (quote, word + each)
        elif each in "'\"":
            quote, after_quote = each, word
        elif each in _BLANKS:
            words += [word] if is_begun else []
            word, after_break, is_begun = "", "", False
            continue
        else:
            word += each
            after_break = word if each in breaks else after_break
        is_begun = True
    return Typed(words, word, quote, after_quote if quote else after_break)


def quoted(text: str, quote: str) -> str:
    """Return a text such that bash reads it literally, in quotes that are open (`quote`) or outside of any."""
    match quote:
        case "'":
            found = text.replace("'", "'\\''")
        case '"':
            # In double quotes, a backslash would not hide an exclamation mark from the history, and would stay.
            found = re.sub(r'(["\\$`])', r"\\\1", text).replace("!", '"\\!"')
        case _:
            return _SPECIAL.sub(r"\\\g<0>", text)
    # bash closes the quotes itself, but not after such a character.
    return found + quote if found.endswith(quote) else found
