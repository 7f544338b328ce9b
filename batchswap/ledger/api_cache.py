"""Remember uploaded files and detected faces, which the API keeps for a while, for later runs.

A file is identified by the SHA-256 of its content in hex. One detection serves every row with its target. URLs and
links to pictures may be signed, so they are stored in BLOBs.
"""

import hashlib
import sqlite3

import msgspec

from batchswap.ledger.transitions import Stamp
from batchswap.tasks import Faces, Model, public


def find_upload(
    db: sqlite3.Connection, account: str, digest: str, since: float, now: float
) -> tuple[str, float] | None:
    """Return the file_url of a content that this account uploaded after `since`, and the time of the upload.

    Times are Unix seconds. An upload after `now` is ignored: a clock was wrong, so its age is unknown.
    """
    sql = (
        "select file_url, uploaded_at from uploads"
        " where account = ? and digest = ? and uploaded_at > ? and uploaded_at <= ?"
    )
    row = db.execute(sql, (account, digest, since, now)).fetchone()
    return None if row is None else (bytes(row[0]).decode(), float(row[1]))


def remember_upload(db: sqlite3.Connection, stamp: Stamp, account: str, digest: str, file_url: str) -> None:
    """Record the URL of a content that this account has uploaded."""
    db.execute("insert or replace into uploads values(?, ?, ?, ?)", (account, digest, file_url.encode(), stamp.at))


def uploaded_digest(db: sqlite3.Connection, file_url: str) -> str | None:
    """Return the digest of the content that was uploaded to this URL; None if unknown."""
    row = db.execute("select digest from uploads where file_url = ?", (file_url.encode(),)).fetchone()
    return None if row is None else str(row[0])


GOOD_FOR = 3600.0
MARGIN = 300.0
"""Seconds before its end at which a detection is no longer used, because the submit may have to wait."""


class Detected(msgspec.Struct, frozen=True):
    """A successful detection. `faces` maps ids to links of their pictures. `detected_at`: when it was requested."""

    digest: str
    detect_id: str
    faces: Faces
    detected_at: float

    @property
    def good_until(self) -> float:
        """The Unix time from which a new detection is needed."""
        return self.detected_at + GOOD_FOR - MARGIN


def target_digest(model: Model, url: str) -> str:
    """Return the digest of a target. A detect_id is valid for one media URL only (api.md, "Endpoints")."""
    return hashlib.sha256(f"{model.target_field}\0{url}".encode()).hexdigest()


def find_detection(db: sqlite3.Connection, account: str, digest: str, now: float) -> Detected | None:
    """Return the account's detection of a target, if it is still valid at `now` (Unix seconds)."""
    sql = (
        "select detect_id, faces, detected_at from detections"
        " where account = ? and digest = ? and detected_at > ? and detected_at <= ?"
    )
    row = db.execute(sql, (account, digest, now - GOOD_FOR + MARGIN, now)).fetchone()
    return None if row is None else Detected(digest, row[0], msgspec.json.decode(row[1], type=Faces), row[2])


def remember_detection(db: sqlite3.Connection, account: str, url: str, found: Detected) -> None:
    db.execute(
        "insert or replace into detections values(?, ?, ?, ?, ?, ?)",
        (account, found.digest, public(url), found.detect_id, msgspec.json.encode(found.faces), found.detected_at),
    )


def forget_detection(db: sqlite3.Connection, account: str, found: Detected) -> None:
    """Remove a detection that the API no longer knows. A newer one of the same target is kept."""
    db.execute(
        "delete from detections where account = ? and digest = ? and detect_id = ?",
        (account, found.digest, found.detect_id),
    )
