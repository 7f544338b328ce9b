"""Files whose names are written in another way: macOS composes letters differently, and some systems ignore case."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

MOST_NAMES = 100_000
"""Names of one folder that are compared; in larger ones a name must be written as it is."""
Alike = Callable[[str], str]


def composed(name: str) -> str:
    """One text for the two ways to write a letter with its accent."""
    return unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    return composed(composed(name).casefold())


class Spellings:
    """Finds such files. A folder is listed once, however many names are looked for in it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._index = lru_cache(maxsize=16)(_index)

    def find(self, path: str, alike: Alike) -> str | None:
        """The one path that is there and differs from `path` only as `alike` allows; None also for several."""
        found = ""
        for part in path.split("/"):
            name = part
            if not os.path.lexists(os.path.join(self._folder, found, part)):  # noqa: PTH118
                names = self._index(os.path.join(self._folder, found), alike).get(alike(part), [])  # noqa: PTH118
                if len(names) != 1:
                    return None
                name = names[0]
            found += f"{name}/"
        return found.removesuffix("/")


def _index(folder: str, alike: Alike) -> dict[str, list[str]]:
    """The names in a folder by what they are alike; empty for a folder that is too large or cannot be listed."""
    index: defaultdict[str, list[str]] = defaultdict(list)
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, MOST_NAMES):
                index[alike(entry.name)].append(entry.name)
            return {} if next(entries, None) else index
    except OSError:
        return {}
