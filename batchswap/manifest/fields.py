"""What the fields of a manifest are called, and whether a text can be one.

Names and aliases are those of docs/reference.md, "Manifests". Nothing here looks at files.
"""

import difflib
import re
from functools import lru_cache

from batchswap.errors import Flaw

ALIASES = {
    "video": ("video_url", "target"),
    "image": ("image_url",),
    "face": ("new_face", "face_url", "source"),
    "faces": (),
    "id": ("key",),
    "output": (),
    "consent": (),
    "tags": (),
    "repeat": (),
}
"""Fields and their other names."""

NAMES = {name: field for field, aliases in ALIASES.items() for name in (field, *aliases)}
KEPT_PREFIXES = ("x_", "meta.")
LONGEST_TEXT = 500
LONGEST_KEY = 200
MOST_TAGS = 50
USE_UTF8 = "use a UTF-8 locale, such as LC_ALL=C.UTF-8"
"""The remedy if the locale's encoding lacks letters of a name."""

FACE_FIELD = re.compile(r"face_(0|[1-9][0-9]{0,2})", re.ASCII)
# Control characters, line separators, invisible and bidirectional marks, half surrogates: a terminal or a spreadsheet
# would show a text that differs from the stored one.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]")
UNSAFE_NOTE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
QUERY = re.compile(r"\?\S*")
USER = re.compile(r"//[^/\s]*@")


@lru_cache(maxsize=4096)
def canonical(name: str) -> str | None:
    """Return the field for the name of a column or key, or None if unknown. Faces and kept fields keep their names."""
    if (field := NAMES.get(name)) is not None:
        return field
    if FACE_FIELD.fullmatch(name) or (is_kept(name) and not UNSAFE.search(name) and len(name) <= LONGEST_TEXT):
        return name
    return None


def is_kept(name: str) -> bool:
    """Return whether a field belongs to the user: its value is kept unchanged and appears in exports."""
    return name.startswith(KEPT_PREFIXES) and name not in KEPT_PREFIXES


@lru_cache(maxsize=4096)
def nearest(name: str, known: tuple[str, ...] = (*NAMES, "face_0")) -> str:
    """Return the known name that is most similar to `name`."""
    return difflib.get_close_matches(name[:50].lower(), known, n=1, cutoff=0.0)[0]


def unknown(name: str) -> str:
    """Return the message for an unknown column or key."""
    if name.startswith("face_"):
        return "is not a face: faces are numbered face_0 to face_999"
    return (
        f'is not a known field; did you mean "{nearest(name)}"? (names that begin with x_ or meta. are kept unchanged)'
    )


def shown(text: str, most: int = 80) -> str:
    """Quote a text from a manifest for a message: short, printable, without user and query, which may be secret."""
    bare = USER.sub("//…@", QUERY.sub("?…", text[: most * 8]))
    bare = bare if len(bare) <= most else bare[: most - 1] + "…"
    return '"' + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in bare) + '"'


def plain_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return `text` if it is short and printable. Raise Flaw if not."""
    return _checked(text, UNSAFE, "control or invisible", longest)


def note(text: str) -> str:
    """Return the text of a kept column, which may have several lines. Raise Flaw for other control characters."""
    return _checked(text, UNSAFE_NOTE, "control", 20 * LONGEST_TEXT)


def _checked(text: str, unsafe: re.Pattern[str], kind: str, longest: int) -> str:
    if found := unsafe.search(text):
        raise Flaw(f"has a {kind} character (U+{ord(found[0]):04X}) in {shown(text)}")
    if len(text) > longest:
        raise Flaw(f"has {len(text):,} characters; at most {longest:,} are allowed")
    return text


def split_tags(text: str) -> tuple[str, ...]:
    """Split a `;`-separated text into its tags, without duplicates."""
    return tuple(dict.fromkeys(tag for part in text.split(";") if (tag := part.strip())))


def checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tags. Raise Flaw for a tag that is not printable, or for too many tags."""
    if len(tags) > MOST_TAGS:
        raise Flaw(f"has {len(tags):,} tags; at most {MOST_TAGS} are allowed")
    for tag in tags:
        plain_text(tag, 100)
        if ";" in tag:
            raise Flaw(f'{shown(tag)} has a ";", which separates tags')
    return tags
