"""Faces that were detected in a target: one detection serves every row with that target, for as long as it holds.

Pictures' links may be signed, so they stand in a BLOB; of the target's URL only what people may read.
"""

import hashlib
import sqlite3

import msgspec

from batchswap.tasks import Faces, Model, public

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


def digest_of(model: Model, url: str) -> str:
    """What names a target: detect_id is good for one media URL only (api.md, "Endpoints")."""
    return hashlib.sha256(f"{model.target_field}\0{url}".encode()).hexdigest()


def find(db: sqlite3.Connection, account: str, digest: str, now: float) -> Detected | None:
    """The account's detection of a target, if it still holds at `now` (Unix seconds)."""
    sql = (
        "select detect_id, faces, detected_at from detections"
        " where account = ? and digest = ? and detected_at > ? and detected_at <= ?"
    )
    row = db.execute(sql, (account, digest, now - GOOD_FOR + MARGIN, now)).fetchone()
    return None if row is None else Detected(digest, row[0], msgspec.json.decode(row[1], type=Faces), row[2])


def remember(db: sqlite3.Connection, account: str, url: str, found: Detected) -> None:
    db.execute(
        "insert or replace into detections values(?, ?, ?, ?, ?, ?)",
        (account, found.digest, public(url), found.detect_id, msgspec.json.encode(found.faces), found.detected_at),
    )


def forget(db: sqlite3.Connection, account: str, found: Detected) -> None:
    """The API does not know it any longer. A newer one of the same target is kept."""
    db.execute(
        "delete from detections where account = ? and digest = ? and detect_id = ?",
        (account, found.digest, found.detect_id),
    )
