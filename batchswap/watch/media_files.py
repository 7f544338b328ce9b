"""The files that the page may load: results and targets that the ledger names, and the pictures next to it."""

import os
from collections.abc import Iterator
from pathlib import Path

from batchswap.ledger.deliveries import pictures_folder
from batchswap.ledger.page_queries import ReportRow
from batchswap.report.page import strip_files
from batchswap.states import State
from batchswap.tasks import is_url

TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".webp": "image/webp", ".gif": "image/gif", ".avif": "image/avif", ".bmp": "image/bmp",
}  # fmt: skip
"""The types that browsers play or show, by the ending of a name. No other file is sent, whatever the ledger says."""


def result_file(row: ReportRow, out: Path) -> Path | None:
    """Return the stored result of a task; None if it is gone, or a link leads out of its folder."""
    if row.state != State.DONE or row.file is None:
        return None
    return next(filter(None, (_inside(folder, row.file) for folder in _folders(row, out))), None)


def _folders(row: ReportRow, out: Path) -> Iterator[Path]:
    if row.out:
        yield Path(row.out)
    yield out.absolute()


def target_file(row: ReportRow) -> Path | None:
    """Return the local target of a task."""
    return None if is_url(row.target) else _playable(Path(row.folder, row.target))


def picture(ledger: Path, name: str) -> bytes:
    """Return a picture that compares target and result; b"" for any other name, and for a link to another place."""
    folder = pictures_folder(ledger)
    path = strip_files.path_of(folder, name)
    return strip_files.read(folder, name) if path is not None and _is_below(path, folder) else b""


def _inside(folder: Path, file: str) -> Path | None:
    path = folder / file
    return _playable(path) if _is_below(path, folder) else None


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether the file is below the folder when all links are followed."""
    root = os.path.realpath(folder)
    return os.path.realpath(path).startswith(f"{root.rstrip('/')}/")


def _playable(path: Path) -> Path | None:
    try:
        return path if path.suffix.lower() in TYPES and path.is_file() else None
    except (OSError, ValueError):
        return None
