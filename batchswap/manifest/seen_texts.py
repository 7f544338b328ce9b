"""Find duplicates among millions of texts, with eight bytes of memory per text."""

import unicodedata
from array import array
from collections.abc import Iterable
from itertools import islice

from batchswap.manifest.fields import shown
from batchswap.tasks import Row

MOST_SUSPECTS = 10_000
PARTS = 64  # only one of the parts is in a set at a time


def folded(output: str) -> str:
    """Return the same text for all outputs that some file system treats as one file (case, composed letters)."""
    return output.lower() if output.isascii() else unicodedata.normalize("NFC", output.casefold())


def all_folded(names: list[str]) -> list[str]:
    """Return `folded` for many outputs, which contain no line ends."""
    text = "\n".join(names)
    return text.lower().split("\n") if text.isascii() else [folded(name) for name in names]


def folders_of(output: str) -> list[str]:
    """Return the folders of an output: de and de/spring for de/spring/a.mp4."""
    parts = output.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


class SeenTexts:
    """Remembers the hashes of texts. Different texts may share a hash, so suspects must be compared."""

    def __init__(self) -> None:
        self.parts = [array("q") for _ in range(PARTS)]

    def add(self, texts: Iterable[str]) -> None:
        parts = self.parts
        for number in map(hash, texts):
            parts[number & 63].append(number)

    def suspects(self) -> set[int]:
        """Return the hashes that were added more than once."""
        found: set[int] = set()
        for part in self.parts:
            if len(set(part)) < len(part):
                once: set[int] = set()
                found.update(number for number in part if number in once or once.add(number))  # type: ignore[func-returns-value]
        return found

    def shared(self, other: "SeenTexts") -> set[int]:
        """Return the hashes that both contain."""
        return set().union(*(set(one).intersection(two) for one, two in zip(self.parts, other.parts, strict=True)))


class Suspects:
    """Compares the rows whose hashes occurred twice.

    `folders` are hashes that an output and a folder of outputs share. At most MOST_SUSPECTS of each kind are compared.
    """

    def __init__(self, keys: dict[str, set[int]], outputs: set[int], folders: set[int]) -> None:
        everything = [*keys.values(), outputs, folders]
        self.left_out = sum(max(0, len(hashes) - MOST_SUSPECTS) for hashes in everything)
        """The number of hashes that are not compared, because there are too many."""
        self._keys = {batch: set(islice(hashes, MOST_SUSPECTS)) for batch, hashes in keys.items()}
        self._outputs, self._folders = set(islice(outputs, MOST_SUSPECTS)), set(islice(folders, MOST_SUSPECTS))
        self._first: dict[tuple[str, str], str] = {}

    def __bool__(self) -> bool:
        return bool(self._outputs or self._folders) or any(self._keys.values())

    def found(self, batch: str, file: str, row: Row) -> tuple[str, str] | None:
        """Return (field, message) if an earlier row has the same key or output. Pass all rows in order."""
        return self._key(batch, file, row) or self._output(file, row) or self._folder(file, row)

    def _key(self, batch: str, file: str, row: Row) -> tuple[str, str] | None:
        if hash(row.key) not in self._keys[batch] or not (first := self._before(f"key of {batch}", row.key, file, row)):
            return None
        if row.key == row.digest:
            return "id", f"is missing, and {first} has the same inputs; if intended, give ids or use repeat in one row"
        return "id", f"{shown(row.key)} is also the key of {first}"

    def _output(self, file: str, row: Row) -> tuple[str, str] | None:
        name = folded(row.output)
        if hash(name) not in self._outputs or not (first := self._before("output", name, file, row)):
            return None
        return "output", f"{shown(row.output)} is also the output of {first} (upper and lower case count as equal)"

    def _folder(self, file: str, row: Row) -> tuple[str, str] | None:
        name = folded(row.output)
        above = [folder for folder in folders_of(name) if hash(folder) in self._folders]
        mine = [("folder", folder) for folder in above] + [("file", name)] * (hash(name) in self._folders)
        theirs = [("file", folder) for folder in above] + [("folder", name)]
        other = next((place for clash in theirs if (place := self._first.get(clash))), None)
        for what in mine:
            self._first.setdefault(what, f"{file}:{row.line}")
        if other is None:
            return None
        return "output", f"{shown(row.output)}: a file and a folder would have the same name; see {other}"

    def _before(self, what: str, text: str, file: str, row: Row) -> str | None:
        """Return the place of the first row with this text; None if this is the first."""
        if place := self._first.get((what, text)):
            return place
        self._first[what, text] = f"{file}:{row.line}"
        return None
