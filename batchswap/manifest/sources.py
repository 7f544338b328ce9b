"""Which manifests to read, and their bytes."""

import codecs
import os
import re
import shutil
import stat
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePath
from typing import IO, BinaryIO, Literal, cast

import msgspec

from batchswap.errors import ManifestProblem
from batchswap.manifest.outputs import DEFAULT_TEMPLATE

ManifestFormat = Literal["csv", "yaml", "json", "jsonl", "xlsx"]
ENDINGS: dict[str, ManifestFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
ZIP, OLD_OFFICE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
OTHER_SHEETS = {
    ".ods": "an OpenDocument spreadsheet",
    ".numbers": "a Numbers spreadsheet",
    ".xlsb": "a binary workbook",
}
STDIN = "-"
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
SNIFFED = 1 << 16
SKIPPED = re.compile(r"(?:\s*+(?:#[^\r\n]*+)?+[\r\n])*+\s*+")
JSON_START = re.compile(r'\[?\s*\{\s*"')
JSON_DOCUMENT = re.compile(r'\{\s*"(?:name|defaults|tasks|matrix)"\s*:')
YAML_START = re.compile(r"(?:---|- |\[|\{|(?:name|defaults|tasks|matrix)\s*:)")


class Source(msgspec.Struct, frozen=True):
    """One manifest. `path` is a file, or "-" for standard input.

    `format` None: by the file's ending, else by its first line. `batch` wins over the manifest's own name.
    """

    path: str
    format: ManifestFormat | None = None
    batch: str | None = None

    @property
    def place(self) -> str:
        """Where it lies: the same however the path is spelled; for standard input one in each folder."""
        return os.path.join(folder_of(self.path), os.path.basename(self.path))  # noqa: PTH118, PTH119


class Options(msgspec.Struct, frozen=True):
    """What is asked of all rows. `out` is the folder that outputs must stay in; it need not exist.

    `check_files`: local inputs must be regular, readable, non-empty files.
    """

    name_template: str = DEFAULT_TEMPLATE
    require_consent: bool = False
    out: str = "results"
    check_files: bool = True


class ManifestFiles:
    """Opens manifests, each as often as needed: what can be read only once is copied to a temporary file first."""

    def __init__(self, stdin: BinaryIO | None = None) -> None:
        self._stdin = stdin
        self._copies: dict[str, IO[bytes]] = {}

    def close(self) -> None:
        for copy in self._copies.values():
            copy.close()

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """The bytes from their start, behind a BOM. Raises ManifestProblem when there are none."""
        try:
            return self._at_start(path)
        except OSError as error:
            raise ManifestProblem(path, None, None, f"cannot be read: {error.strerror or error}") from None

    def _at_start(self, path: str) -> AbstractContextManager[BinaryIO]:
        stream = self._open(path)
        held = nullcontext(stream) if path in self._copies else stream
        stream.seek(0)
        start = stream.read(len(BOM))
        if not start:
            stream.seek(0)
            with held:
                raise ManifestProblem(path, None, None, "is empty")
        if start[:2] in UTF16:
            with held:
                raise ManifestProblem(path, 1, None, "is UTF-16, not UTF-8; save it as UTF-8")
        stream.seek(len(BOM) if start == BOM else 0)
        return held

    def _open(self, path: str) -> BinaryIO:
        if path in self._copies:
            return cast("BinaryIO", self._copies[path])
        if path == STDIN:
            if self._stdin is None:
                raise ManifestProblem(path, None, None, "standard input is not there to be read")
            return self._copy(path, self._stdin)
        mode = self._mode(path)
        if stat.S_ISDIR(mode):
            raise ManifestProblem(path, None, None, "is a folder, not a manifest")
        if stat.S_ISFIFO(mode):
            with Path(path).open("rb") as pipe:
                return self._copy(path, pipe)
        if not stat.S_ISREG(mode):
            raise ManifestProblem(path, None, None, "is a device or socket, not a manifest")
        return Path(path).open("rb")

    @staticmethod
    def _mode(path: str) -> int:
        try:
            return Path(path).stat().st_mode
        except FileNotFoundError:
            raise ManifestProblem(path, None, None, "does not exist") from None
        except ValueError:
            raise ManifestProblem(path, None, None, "is not a path") from None

    def _copy(self, path: str, stream: BinaryIO) -> BinaryIO:
        copy = self._copies[path] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        shutil.copyfileobj(stream, copy)
        return cast("BinaryIO", copy)


def format_of(source: Source, stream: BinaryIO) -> ManifestFormat:
    """What `source` says, else what its ending says, else what its first line looks like. `stream` is not moved.

    A workbook is known by its first bytes, whatever is said. Raises ManifestProblem for a spreadsheet of another kind.
    """
    here = stream.tell()
    head = stream.read(SNIFFED)
    stream.seek(here)
    suffix = PurePath(source.path).suffix.lower()
    if head.startswith((ZIP, OLD_OFFICE)):
        kind = OTHER_SHEETS.get(suffix) or ("" if head.startswith(ZIP) else "an old Excel workbook")
        if kind:
            raise ManifestProblem(source.path, None, None, f"is {kind}: save it as CSV (UTF-8), or as .xlsx")
        return "xlsx"
    return source.format or ENDINGS.get(suffix) or sniffed(head.decode(errors="replace"))


def sniffed(head: str) -> ManifestFormat:
    """What the first line that is not empty and no comment looks like, and in JSON what follows."""
    text = SKIPPED.sub("", head, count=1)
    line = text.partition("\n")[0].strip()
    if line.startswith("{") and line.endswith("}") and not JSON_DOCUMENT.match(line):
        return "jsonl"
    if JSON_START.match(text):
        return "json"
    return "yaml" if YAML_START.match(line) else "csv"


def default_batch(path: str) -> str:
    """The batch of a manifest that does not name one: its file name without the ending."""
    return "stdin" if path == STDIN else PurePath(path).stem


def folder_of(path: str) -> str:
    """The absolute folder that a manifest's relative paths start from; standard input has the working directory.

    Without links: where one led to when the manifest was read must be known when it leads somewhere else.
    """
    return os.path.realpath("." if path == STDIN else os.path.dirname(path) or ".")  # noqa: PTH120


def utf8_problem(path: str, stream: BinaryIO) -> ManifestProblem:
    """Where the bytes stop being UTF-8: line, and offset in the file from 0."""
    stream.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, before, wrong = 1, 0, "the last character is cut off"
    for part in iter(lambda: stream.readline(SNIFFED), b""):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(part)
        except UnicodeDecodeError as error:
            wrong = f"byte 0x{error.object[error.start]:02x} at offset {before - held + error.start:,}"
            break
        before += len(part)
        line += part.endswith(b"\n")
    return ManifestProblem(path, line, None, f"is not UTF-8: {wrong}; save it as UTF-8")
