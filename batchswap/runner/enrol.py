"""Enrol manifests in the ledger. A manifest whose bytes did not change is not read again, unless it has patterns."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from batchswap import manifest
from batchswap.errors import ManifestErrors, ManifestProblem
from batchswap.ledger import releases
from batchswap.ledger.enrolment import enrol
from batchswap.ledger.enrolment.duplicates import Decision, settle
from batchswap.ledger.enrolment.enrol import Enrolment
from batchswap.ledger.enrolment.input_files import hash_file, state_of
from batchswap.ledger.releases import Evidence
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import STDIN, Options, Source
from batchswap.manifest.consents import Release

VERSION = 3
"""Raise it when marking or reading changes, so that manifests marked by an older version are read again."""


class Enrolled(msgspec.Struct, frozen=True):
    """The result of enrolling manifests. `unchanged` means that they did not need to be read."""

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
    """Add all rows to the ledger, or none. Raise ManifestErrors with every error found, or DuplicateRows.

    `account` is the name of the account that would pay. `decision` applies to rows that it has paid for already.
    """

    reading = manifest.read(sources, options, stdin)

    def settled(db: sqlite3.Connection, batches: tuple[str, ...], rows: int | None) -> int:
        _note_releases(db, stamp, options.consent_register, list(reading.releases.values()))
        return settle(db, batches, rows, decision, account, hash_file)

    marks = {source.place: _mark(source, options) for source in sources}
    known = enrol.known_batches(db, marks) if all(marks.values()) else None
    if known is not None:
        return Enrolled(known, enrol.enrol_unchanged(db, stamp, known, settled), unchanged=True)
    done = enrol.enrol(db, stamp, reading, marks, settled)
    return Enrolled(tuple(reading.counts), done)


def _note_releases(db: sqlite3.Connection, stamp: Stamp, register: str, named: Sequence[Release]) -> None:
    """Record the evidence of these releases. It is read only if its size or time has changed. Raise ManifestErrors."""
    problems = []
    for release in named:
        try:
            releases.note(db, stamp, release.reference, _evidence(db, release))
        except OSError as error:
            sentence = f"cannot be read ({error.strerror})"
            problems.append(ManifestProblem(register, release.line, "evidence", sentence))
    if problems:
        raise ManifestErrors(problems)


def _evidence(db: sqlite3.Connection, release: Release) -> Evidence | None:
    if not release.evidence:
        return None
    path, known = Path(release.evidence), releases.evidence(db, release.reference)
    size, modified = state_of(path.stat())
    if known is not None and (known.size, known.modified) == (size, modified):
        return known
    return Evidence(hash_file(path), size, modified)


def _mark(source: Source, options: Options) -> str:
    """Return a mark that identifies the content and the options it is read with; "" if the manifest must be read.

    It must be read if it cannot be read, because then the reader raises the error; and with a register of releases,
    which are valid on some days only.
    """
    path = Path(source.path)
    try:
        if source.path == STDIN or options.consent_register or not path.is_file():
            return ""
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
    how = f"{VERSION}|{source.format}|{source.batch}|{options.name_template}|{options.require_consent}|{path.resolve()}"
    how += "".join(f"|{reference}" for reference in sorted(options.withdrawn))
    return f"{content}|{hashlib.sha256(how.encode()).hexdigest()[:16]}"
