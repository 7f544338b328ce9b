"""The lines of the submission log, and how they are read. docs/submission-log.md describes the format.

A reader takes what it can: half a line, a foreign line and a line of a newer version cost that line alone, and memory
is bounded whatever the file holds.
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
"""Bytes that are read at once. A longer line is not one of ours."""
_NAME = re.compile(r"submits-([0-9a-f]{12})-(\d{4}-\d{2})\.jsonl")
_START = b'{"at":'


class What(StrEnum):
    """What a line records."""

    DAY = "day"  # a day of the budget begins
    HELD = "held"  # credits are set aside for an attempt, which has not been sent
    SENT = "sent"  # the attempt is in the ledger, its request is about to leave
    ACCEPTED = "accepted"
    REFUSED = "refused"  # known not to be accepted, or never sent
    UNKNOWN = "unknown"  # may have been accepted
    ENDED = "ended"  # the API has finished it; `charged` where it says so
    SAVED = "saved"  # its result has its final name


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line. All but DAY name their attempt in full, so that each line can be read by itself."""

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
    """None for what is not an entry. Half a line that another one was written behind costs the half alone."""
    for start in dict.fromkeys((0, line.rfind(_START))):
        try:
            return _decoder.decode(line[start:]) if start >= 0 else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return None


def name_of(fingerprint: str, month: str) -> str:
    return f"submits-{fingerprint}-{month}.jsonl"


def logs_in(folder: Path) -> dict[str, list[str]]:
    """Fingerprint of a key -> the names of its files, the oldest first. Raises OSError unless there is no folder."""
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
    """The month that a file's name tells; "" for other names."""
    match = _NAME.fullmatch(name)
    return match[2] if match else ""


def open_log(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. Raises OSError, also for a FIFO or a device under that name."""
    handle = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(22, "is not a regular file", str(path))
    return handle


def read(handle: int, start: int, end: int, needle: bytes = b"") -> Iterator[tuple[list[LogEntry], int]]:
    """The entries between two places, by blocks, each with the place behind its last whole line.

    `needle`: only lines that hold these bytes; a block without them is not even split.
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
    """Where the last line that begins a day starts; None if there is none. Read backwards."""
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
    """Whether a file is a log and not a CSV: by how it begins."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


def owner_of(name: str) -> str:
    """The fingerprint in a file's name; "" for other names."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""
