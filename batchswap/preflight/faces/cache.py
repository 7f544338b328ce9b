"""What was found in files, kept in the user's cache folder: a content is examined once, whatever its name.

A cache that cannot be used is no error: everything is examined again.
"""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from batchswap.local.engine import FaceSurvey
from batchswap.state_folder import home_folder, make_private
from batchswap.tasks import MediaKind

VERSION = 1
"""Of the examination. Raise it when the same file may give another survey."""
KEPT, KEPT_FOR = 100_000, 180 * 86_400.0
"""The most entries, and the seconds after which an entry is dropped."""
_BUSY = 0.2
"""Seconds to wait for another process. A look costs little more."""
_TABLE = """
    create table if not exists faces(
        sha256 text not null, kind text not null, version integer not null, survey blob not null, seen_at real not null,
        primary key(sha256, kind, version)
    ) strict, without rowid
"""


def cache_folder() -> Path | None:
    """Return $XDG_CACHE_HOME/batchswap, or ~/.cache/batchswap; None if neither is an absolute path."""
    given = os.environ.get("XDG_CACHE_HOME")
    home = home_folder()
    folder = Path(given) if given else home and home / ".cache"
    return folder / "batchswap" if folder is not None and folder.is_absolute() else None


class FaceCache:
    """The file `faces.db` in the cache folder. A damaged file is removed, and the next process begins a new one."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` None: there is no cache."""
        self._path = folder and folder / "faces.db"
        self._db: sqlite3.Connection | None = None

    def find(self, sha256: str, kind: MediaKind) -> FaceSurvey | None:
        """Return what was found in this content, if it is known."""
        sql = "select survey from faces where sha256 = ? and kind = ? and version = ?"
        try:
            row = self._opened().execute(sql, (sha256, kind, VERSION)).fetchone()
            return msgspec.json.decode(row[0], type=FaceSurvey) if row else None
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            self._give_up(error)
            return None

    def keep(self, sha256: str, kind: MediaKind, survey: FaceSurvey) -> None:
        """Record what was found."""
        values = (sha256, kind, VERSION, msgspec.json.encode(survey), time.time())
        try:
            self._opened().execute("insert or replace into faces values(?, ?, ?, ?, ?)", values)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _opened(self) -> sqlite3.Connection:
        if self._path is None:
            raise FileNotFoundError
        if self._db is None:
            self._db = _open(self._path)
        return self._db

    def _give_up(self, error: Exception) -> None:
        """Use the cache no more, unless another process only keeps it locked for a moment."""
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return
        self.close()
        if self._path is not None and not isinstance(error, OSError) and not _is_about_the_place(name):
            for ending in ("", "-journal"):
                with suppress(OSError):
                    Path(f"{self._path}{ending}").unlink()
        self._path = None


def _is_about_the_place(name: str) -> bool:
    """Return whether the folder or the disk is the cause of an error of SQLite, and not the file's content."""
    return name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"))


def _open(path: Path) -> sqlite3.Connection:
    """Open the cache, which only this user can read, and drop its old entries. Raise OSError or sqlite3.Error."""
    make_private(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
    try:
        db.execute("pragma synchronous = off")
        db.execute(_TABLE)
        db.execute("delete from faces where version <> ? or seen_at < ?", (VERSION, time.time() - KEPT_FOR))
        newest = "select seen_at from faces order by seen_at desc limit 1 offset ?"
        with closing(db.execute(newest, (KEPT,))) as found:
            for (oldest,) in found.fetchall():
                db.execute("delete from faces where seen_at <= ?", (oldest,))
    except BaseException:
        db.close()
        raise
    return db
