"""Find files whose names are spelled differently: letters composed as on macOS, or in another case."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

MOST_NAMES = 100_000
"""Names of one folder that are compared. In larger folders, names must be spelled exactly."""
Alike = Callable[[str], str]


def composed(name: str) -> str:
    """Return the same text for both ways to encode a letter with an accent."""
    return unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    return composed(composed(name).casefold())


class Spellings:
    """Finds such files. Each folder is listed once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._index = lru_cache(maxsize=16)(_index)

    def find(self, path: str, alike: Alike) -> str | None:
        """Return the only existing path that equals `path` after `alike`; None if there are none or several."""
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
    """Return the names in a folder, grouped by `alike`; empty if the folder is too large or cannot be listed."""
    index: defaultdict[str, list[str]] = defaultdict(list)
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, MOST_NAMES):
                index[alike(entry.name)].append(entry.name)
            return {} if next(entries, None) else index
    except OSError:
        return {}
