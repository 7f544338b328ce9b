"""Helpers to read a manifest from a text."""

import io
from pathlib import Path

from batchswap.errors import ManifestErrors
from batchswap.manifest import ManifestFormat, Options, Source, read
from batchswap.tasks import Row

V, F = "https://v.example.com/a.mp4", "https://f.example.com/f.jpg"
NO_FILES = Options(check_files=False)


def rows_of(text: str | bytes, format: ManifestFormat | None = "csv", options: Options = NO_FILES) -> list[Row]:  # noqa: A002
    """Return the rows of a manifest on standard input."""
    data = text if isinstance(text, bytes) else text.encode()
    return [row for chunk in read([Source("-", format)], options, io.BytesIO(data)) for row in chunk.rows]


def errors_of(text: str | bytes, format: ManifestFormat | None = "csv", options: Options = NO_FILES) -> list[str]:  # noqa: A002
    """Return the problems of a manifest on standard input, as they are printed."""
    try:
        rows_of(text, format, options)
    except ManifestErrors as errors:
        return [str(problem) for problem in errors.problems]
    return []


def error_of(text: str | bytes, format: ManifestFormat | None = "csv", options: Options = NO_FILES) -> str:  # noqa: A002
    """Return the only problem."""
    (found,) = errors_of(text, format, options)
    return found


def file_errors(*paths: Path, options: Options | None = None) -> list[str]:
    try:
        for _ in read([Source(str(path)) for path in paths], options):
            pass
    except ManifestErrors as errors:
        return [str(problem) for problem in errors.problems]
    return []
