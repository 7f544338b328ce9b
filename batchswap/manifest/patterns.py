"""Find the files that match a pattern with `*`, `?`, `[…]` and `**`, following links safely."""

import fnmatch
import glob
import os
import re
from collections import deque
from collections.abc import Iterator

from batchswap.errors import Flaw
from batchswap.manifest.fields import shown
from batchswap.manifest.spelling import composed

MOST_FILES = 1_000_000
ANY_DEPTH = "**"
VISIBLE = re.compile(r"(?!\.)")


def matching_files(folder: str, pattern: str) -> list[str]:
    """Return the matching regular files, sorted, relative to `folder`. Raise Flaw if a folder cannot be searched.

    Each folder is searched once per part of the pattern, so circular links are harmless. Each file is returned once,
    by its own name rather than that of a link. As in a shell, `*` and `**` skip hidden names.
    """
    return sorted(Search(folder, pattern).files())


class Search:
    """One search. Links are followed last, so that real names come first."""

    def __init__(self, folder: str, pattern: str) -> None:
        self._folder = folder
        self._parts = [part for part in pattern.split("/") if part]
        self._start = "/" if pattern.startswith("/") else ""
        if pattern.endswith("/"):
            self._parts.append("")  # an empty name matches no file
        self._searched: set[tuple[int, int, int]] = set()
        self._behind_links: deque[tuple[str, int]] = deque()
        self._found: dict[str, str] = {}

    def files(self) -> list[str]:
        waiting = [(self._start, 0)]
        while waiting or self._behind_links:
            path, part = waiting.pop() if waiting else self._behind_links.popleft()
            waiting += reversed(list(self._step(path, part)))
        return list(self._found.values())

    def _step(self, path: str, number: int) -> Iterator[tuple[str, int]]:
        """Match one part of the pattern in the folder `path`. Yield paths to continue with and their part numbers."""
        if number == len(self._parts):
            self._take(path)
            return
        part, is_last = self._parts[number], number == len(self._parts) - 1
        if part == ANY_DEPTH:
            if self._is_new(path, number):
                yield from self._entries(path, number + 1, VISIBLE, folders=False) if is_last else [(path, number + 1)]
                yield from self._entries(path, number, VISIBLE, folders=True)
        elif glob.has_magic(part):
            if self._is_new(path, number):
                visible = "" if part.startswith(".") else r"(?!\.)"
                name = re.compile(visible + fnmatch.translate(composed(part)))
                yield from self._entries(path, number + 1, name, folders=not is_last)
        elif os.path.lexists(self._whole(f"{path}{part}")):
            yield f"{path}{part}" if is_last else f"{path}{part}/", number + 1

    def _entries(self, path: str, number: int, name: re.Pattern[str], *, folders: bool) -> Iterator[tuple[str, int]]:
        """Yield the matching entries of a folder, sorted: either its folders, or everything else."""
        try:
            with os.scandir(self._whole(path) or ".") as entries:
                some = sorted(
                    (e.name, e.is_symlink())
                    for e in entries
                    if name.match(composed(e.name)) and is_folder(e) is folders
                )
        except OSError as error:
            raise unreadable(path, error) from None
        for text, is_link in some:
            below = f"{path}{text}/" if folders else f"{path}{text}", number
            if is_link:
                self._behind_links.append(below)
            else:
                yield below

    def _is_new(self, path: str, number: int) -> bool:
        """Return whether this folder was not searched for this part of the pattern yet."""
        try:
            found = os.stat(self._whole(path) or ".")  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise unreadable(path, error) from None
        mark = number, found.st_dev, found.st_ino
        if mark in self._searched:
            return False
        self._searched.add(mark)
        return True

    def _take(self, path: str) -> None:
        whole = self._whole(path)
        if os.path.isfile(whole):  # noqa: PTH113
            self._found.setdefault(os.path.realpath(whole), path)
        if len(self._found) > MOST_FILES:
            raise Flaw(f"matches more than {MOST_FILES:,} files")

    def _whole(self, path: str) -> str:
        return os.path.join(self._folder, path)  # noqa: PTH118


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to a folder without access
        return False


def unreadable(path: str, error: OSError) -> Flaw:
    return Flaw(f"cannot search the folder {shown(path or '.', 200)}: {error.strerror or error}")
