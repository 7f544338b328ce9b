"""The files of rejected results: they have their names below another folder, and are never replaced."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from batchswap.downloads.filesystem import folder_sync, rename_to_free_name
from batchswap.downloads.output_paths import Place, disk, opened
from batchswap.errors import DownloadError

REJECTED = "rejected"
"""The folder of rejected results, below the folder of the results."""


def move(source: Place, target: Place) -> None:
    """Give a published file another name below the same folder, durably. Blocks.

    No file is replaced: raise DownloadError "output-taken". At every moment the file has one of both names.
    """
    with opened(source) as old, opened(target) as new, disk(target):
        try:
            rename_to_free_name(old, source.name, target.name, into=new)
        except FileExistsError:
            raise DownloadError("output-taken", f"{target.final} exists and is another file", final=True) from None
        for folder in (new, old):
            with folder_sync(target.traits):
                os.fsync(folder)


def rejected_name(output: str, number: int) -> str:
    """Return the name of a rejected file: `rejected/spring/clip.mp4`, `rejected/spring/clip-2.mp4` …"""
    name = PurePosixPath(REJECTED, output)
    return str(name if number == 1 else name.with_stem(f"{name.stem}-{number}"))


def rejected_names(out: Path, output: str) -> Iterator[str]:
    """Yield the rejected files below `out` that may have been this output."""
    name = PurePosixPath(REJECTED, output)
    pattern = re.compile(rf"{re.escape(name.stem)}(-\d+)?{re.escape(name.suffix)}")
    try:
        found = sorted(each.name for each in (out / name.parent).iterdir())
    except OSError:
        return
    yield from (str(name.with_name(each)) for each in found if pattern.fullmatch(each))
