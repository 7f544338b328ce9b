"""Manifests into the ledger. An unchanged one is known by its bytes and not read again, unless it has patterns."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from batchswap import manifest
from batchswap.ledger.enrolment import enrol
from batchswap.ledger.enrolment.duplicates import Decision, settle
from batchswap.ledger.enrolment.enrol import Enrolment
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import STDIN, Options, Source
from batchswap.runner.prepare.uploads import hash_file

WAY = 3
"""Of marking, and of reading. Raised when either changes: what an older version has marked is then read again."""


class Enrolled(msgspec.Struct, frozen=True):
    """What the manifests hold, and what enrolling them did. `unchanged`: they were not even read."""

    batches: tuple[str, ...]
    enrolment: Enrolment
    unchanged: bool = False

    @property
    def has_changed(self) -> bool:
        """Whether any task is new or has other inputs."""
        return self.enrolment.new + self.enrolment.changed > 0


def enrol_manifests(
    db: sqlite3.Connection,
    stamp: Stamp,
    sources: Sequence[Source],
    options: Options,
    stdin: BinaryIO | None = None,
    *,
    account: str = "",
    decision: Decision = Decision.REFUSE,
) -> Enrolled:
    """Take all rows into the ledger, or none. Raises ManifestErrors with everything that is wrong, or DuplicateRows.

    `account`: the name of the one that would pay; `decision`: what is done about rows that it has paid for already.
    """

    def settled(db: sqlite3.Connection, batches: tuple[str, ...], rows: int | None) -> int:
        return settle(db, batches, rows, decision, account, hash_file)

    marks = {source.place: _mark(source, options) for source in sources}
    known = enrol.known_batches(db, marks) if all(marks.values()) else None
    if known is not None:
        return Enrolled(known, enrol.enrol_unchanged(db, stamp, known, settled), unchanged=True)
    reading = manifest.read(sources, options, stdin)
    done = enrol.enrol(db, stamp, reading, marks, settled)
    return Enrolled(tuple(reading.counts), done)


def _mark(source: Source, options: Options) -> str:
    """What tells one content, read with these options, from another. "" when it cannot be told: the reader says why."""
    path = Path(source.path)
    try:
        if source.path == STDIN or not path.is_file():
            return ""
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
    asked = f"{WAY}|{source.format}|{source.batch}|{options.name_template}|{options.require_consent}|{path.resolve()}"
    return f"{content}|{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
