"""Read and write lines of the submission log. docs/submission-log.md describes the format.

Half a line, a foreign line or a line of a newer version is skipped without losing others, and any file is read with
bounded memory.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

BLOCK = 1 << 20
"""Bytes that are read at once. The log has no longer lines."""
_NAME = re.compile(r"submits-([0-9a-f]{12})-(\d{4}-\d{2})\.jsonl")
_START = b'{"at":'


class What(StrEnum):
    """The event that a line records."""

    DAY = "day"  # a day of the budget begins
    HELD = "held"  # credits are reserved for an attempt that has not been sent
    SENT = "sent"  # the attempt is in the ledger, and its request is about to leave
    ACCEPTED = "accepted"
    REFUSED = "refused"  # not accepted, or never sent
    UNKNOWN = "unknown"  # may have been accepted
    ENDED = "ended"  # the API has finished the task; `charged` if it sent the cost
    SAVED = "saved"  # the result has its final name


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line. Each line but DAY names its attempt in full, so that it makes sense without other lines."""

    at: float
    what: str
    ledger: str = ""
    batch: str = ""
    key: str = ""
    attempt: int = 0
    digest: str = ""
    ref: str = ""
    reserved: float = 0.0
    id: str = ""
    charged: float | None = None
    code: str = ""
    size: int | None = None
    sha256: str = ""
    day: str = ""
    zone: str = ""
    begins: float = 0.0
    ends: float = 0.0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LogEntry)


def encode(entry: LogEntry) -> bytes:
    return _encoder.encode(entry) + b"\n"


def decode(line: bytes) -> LogEntry | None:
    """Return the entry, or None. If a line was written after half a line, only the half is lost."""
    for start in dict.fromkeys((0, line.rfind(_START))):
        try:
            return _decoder.decode(line[start:]) if start >= 0 else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return None


def name_of(fingerprint: str, month: str) -> str:
    return f"submits-{fingerprint}-{month}.jsonl"


def logs_in(folder: Path) -> dict[str, list[str]]:
    """Map fingerprints of keys to the names of their files, oldest first; {} without a folder. Raise OSError."""
    found: dict[str, list[str]] = {}
    try:
        names = sorted(each.name for each in folder.iterdir())
    except FileNotFoundError:
        return found
    for name in names:
        if match := _NAME.fullmatch(name):
            found.setdefault(match[1], []).append(name)
    return found


def month_of(name: str) -> str:
    """Return the month in a file's name; "" for other names."""
    match = _NAME.fullmatch(name)
    return match[2] if match else ""


def open_log(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of a regular file. Raise OSError, also for a FIFO or a device."""
    handle = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(22, "is not a regular file", str(path))
    return handle


def read(handle: int, start: int, end: int, needle: bytes = b"") -> Iterator[tuple[list[LogEntry], int]]:
    """Yield the entries between two offsets block by block, each with the offset after its last complete line.

    With `needle`, only lines that contain these bytes are decoded.
    """
    place, rest, is_long = start, b"", False
    while place < end and (block := os.pread(handle, min(BLOCK, end - place), place)):
        place += len(block)
        whole, newline, tail = block.rpartition(b"\n")
        if not newline:
            rest, is_long = (b"", True) if is_long or len(rest) > BLOCK else (rest + block, False)
            continue
        text = whole.partition(b"\n")[2] if is_long else rest + whole
        rest, is_long = tail, False
        lines = (line for line in text.split(b"\n") if needle in line) if needle in text else ()
        yield [entry for line in lines if (entry := decode(line)) is not None], place - len(tail)


def last_day(handle: int, end: int) -> int | None:
    """Return the offset of the last line that begins a day, or None. The file is read backwards."""
    mark = b'"what":"day"'
    later = b""
    while end > 0:
        start = max(0, end - BLOCK)
        block = os.pread(handle, end - start, start) + later
        if (found := block.rfind(mark)) >= 0:
            return start + block.rfind(b"\n", 0, found) + 1
        end, later = start, block[: len(mark)]
    return None


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """Yield a descriptor of the log, open for reading, and its size. Raise OSError."""
    handle = open_log(path)
    try:
        yield handle, os.fstat(handle).st_size
    finally:
        os.close(handle)


def read_file(path: Path) -> Iterator[list[LogEntry]]:
    """Yield all entries of a file, by blocks. Raise OSError."""
    with opened(path) as (handle, size):
        for some, _ in read(handle, 0, size):
            yield some


def of_batches(folder: Path, owner: str, batches: Iterable[str]) -> Iterator[LogEntry]:
    """Yield the entries of one key for rows of these batches. Raise OSError."""
    for batch in batches:
        needle = b'"batch":' + msgspec.json.encode(batch)
        for name in logs_in(folder).get(owner, []):
            with opened(folder / name) as (handle, size):
                for some, _ in read(handle, 0, size, needle):
                    yield from (entry for entry in some if entry.batch == batch)


def is_log(path: Path) -> bool:
    """Return whether a file is a log and not a CSV file, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


def owner_of(name: str) -> str:
    """Return the fingerprint in a file's name; "" for other names."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""
