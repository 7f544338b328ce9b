"""Contents that went up: each is named by its URL for as long as that holds, in later runs too.

Contents are known by their SHA-256 in hex. URLs may be signed, so they stand in a BLOB.
"""

import sqlite3

from batchswap.ledger.transitions import Stamp


def find(db: sqlite3.Connection, account: str, digest: str, since: float, now: float) -> tuple[str, float] | None:
    """The file_url of a content that was uploaded for this account after `since`, and when it was (Unix seconds).

    What was uploaded after `now` was so by a clock that was wrong: its age is not known.
    """
    sql = (
        "select file_url, uploaded_at from uploads"
        " where account = ? and digest = ? and uploaded_at > ? and uploaded_at <= ?"
    )
    row = db.execute(sql, (account, digest, since, now)).fetchone()
    return None if row is None else (bytes(row[0]).decode(), float(row[1]))


def remember(db: sqlite3.Connection, stamp: Stamp, account: str, digest: str, file_url: str) -> None:
    """This account can name the content by its URL from now on."""
    db.execute("insert or replace into uploads values(?, ?, ?, ?)", (account, digest, file_url.encode(), stamp.at))


def digest_of(db: sqlite3.Connection, file_url: str) -> str | None:
    """The content that went up to this URL; None when it is not known."""
    row = db.execute("select digest from uploads where file_url = ?", (file_url.encode(),)).fetchone()
    return None if row is None else str(row[0])
