"""Open manifests and determine their formats."""

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

    Without `format`, the file's ending decides, or else its first line. `batch` overrides the manifest's own name.
    """

    path: str
    format: ManifestFormat | None = None
    batch: str | None = None

    @property
    def place(self) -> str:
        """The absolute path, equal for all spellings of the path. For standard input, one per working directory."""
        return os.path.join(folder_of(self.path), os.path.basename(self.path))  # noqa: PTH118, PTH119


class Options(msgspec.Struct, frozen=True):
    """Requirements for all rows. Outputs must stay in the folder `out`, which need not exist.

    With `check_files`, local inputs must be regular, readable, non-empty files. `consent_register` is the path of a
    register of releases, "" if there is none. `withdrawn`: references that allow nothing any more, with the day.
    """

    name_template: str = DEFAULT_TEMPLATE
    require_consent: bool = False
    out: str = "results"
    check_files: bool = True
    consent_register: str = ""
    withdrawn: dict[str, str] = {}

    @property
    def consent_rule(self) -> str:
        """Return the option that requires a consent in every row; "" if none does."""
        if self.require_consent:
            return "--require-consent"
        return "--consent-register" if self.consent_register else ""


class ManifestFiles:
    """Opens manifests as often as needed. Pipes and standard input are copied to a temporary file."""

    def __init__(self, stdin: BinaryIO | None = None) -> None:
        self._stdin = stdin
        self._copies: dict[str, IO[bytes]] = {}

    def close(self) -> None:
        for copy in self._copies.values():
            copy.close()

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a manifest after its BOM, if any. Raise ManifestProblem if it is empty or cannot be read."""
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
                raise ManifestProblem(path, None, None, "standard input is not available")
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
    """Return the format: as given, else by the ending, else by the first line. The position in `stream` is kept.

    The first bytes identify a workbook in any case. Raise ManifestProblem for other kinds of spreadsheets.
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
    """Guess the format from the first line that is neither empty nor a comment, and for JSON from the next ones."""
    text = SKIPPED.sub("", head, count=1)
    line = text.partition("\n")[0].strip()
    if line.startswith("{") and line.endswith("}") and not JSON_DOCUMENT.match(line):
        return "jsonl"
    if JSON_START.match(text):
        return "json"
    return "yaml" if YAML_START.match(line) else "csv"


def default_batch(path: str) -> str:
    """Return the default batch: the manifest's file name without its ending."""
    return "stdin" if path == STDIN else PurePath(path).stem


def folder_of(path: str) -> str:
    """Return the absolute folder that relative paths start from; the working directory for standard input.

    Links are resolved now, because they may lead elsewhere later.
    """
    return os.path.realpath("." if path == STDIN else os.path.dirname(path) or ".")  # noqa: PTH120


def utf8_problem(path: str, stream: BinaryIO) -> ManifestProblem:
    """Return the problem for the first bytes that are not UTF-8, with their line and offset."""
    stream.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, before, wrong = 1, 0, "the last character is incomplete"
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
