"""What the API keeps for a while, and later runs use too: files that were uploaded, and faces that were detected.

Contents are known by their SHA-256 in hex. One detection serves every row with its target. URLs and links of pictures
may be signed, so they are stored in BLOBs.
"""

import hashlib
import sqlite3

import msgspec

from batchswap.ledger.transitions import Stamp
from batchswap.tasks import Faces, Model, public


def find_upload(
    db: sqlite3.Connection, account: str, digest: str, since: float, now: float
) -> tuple[str, float] | None:
    """The file_url of a content that was uploaded for this account after `since`, and when it was (Unix seconds).

    What was uploaded after `now` was so by a clock that was wrong: its age is not known.
    """
    sql = (
        "select file_url, uploaded_at from uploads"
        " where account = ? and digest = ? and uploaded_at > ? and uploaded_at <= ?"
    )
    row = db.execute(sql, (account, digest, since, now)).fetchone()
    return None if row is None else (bytes(row[0]).decode(), float(row[1]))


def remember_upload(db: sqlite3.Connection, stamp: Stamp, account: str, digest: str, file_url: str) -> None:
    """This account can name the content by its URL from now on."""
    db.execute("insert or replace into uploads values(?, ?, ?, ?)", (account, digest, file_url.encode(), stamp.at))


def uploaded_digest(db: sqlite3.Connection, file_url: str) -> str | None:
    """The content that went up to this URL; None when it is not known."""
    row = db.execute("select digest from uploads where file_url = ?", (file_url.encode(),)).fetchone()
    return None if row is None else str(row[0])


GOOD_FOR = 3600.0
MARGIN = 300.0
"""Seconds before its end from which on a detection is not used any longer: the submit may have to wait."""


class Detected(msgspec.Struct, frozen=True):
    """A detection that succeeded. `faces`: id -> link of its own picture. `detected_at`: when it was asked for."""

    digest: str
    detect_id: str
    faces: Faces
    detected_at: float

    @property
    def good_until(self) -> float:
        """Unix time from which on it is made again."""
        return self.detected_at + GOOD_FOR - MARGIN


def target_digest(model: Model, url: str) -> str:
    """What names a target: detect_id is good for one media URL only (api.md, "Endpoints")."""
    return hashlib.sha256(f"{model.target_field}\0{url}".encode()).hexdigest()


def find_detection(db: sqlite3.Connection, account: str, digest: str, now: float) -> Detected | None:
    """The account's detection of a target, if it still holds at `now` (Unix seconds)."""
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
    """The API does not know it any longer. A newer one of the same target is kept."""
    db.execute(
        "delete from detections where account = ? and digest = ? and detect_id = ?",
        (account, found.digest, found.detect_id),
    )
