"""The sent requests of one API key, shared by all processes of this user on this machine.

One small SQLite file per key. It is a log of the recent past, not a record: it is not synced, and if it is lost
nothing is paid twice. Its name is a fingerprint of the key, never the key.
"""

import hashlib
import os
import sqlite3
from math import inf
from pathlib import Path

import msgspec

from batchswap import pacing
from batchswap.clock import Clock
from batchswap.ledger.files import in_words
from batchswap.pacing import Pace, Rate

FEW = 10
"""Answers that do not tell yet how quick one can be: the first ones wait for connections."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(key: str, base_url: str) -> str:
    """12 hex digits that name a key at an API without telling it."""
    return hashlib.blake2b(f"{base_url}\0{key}".encode(), digest_size=6).hexdigest()


def state_folder() -> Path:
    """Where files of this kind live: $XDG_STATE_HOME/batchswap, else ~/.local/state/batchswap."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "batchswap"


def _boot() -> str:
    """What tells one uptime of the machine from the next: monotonic time starts anew with it."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Window:
    """When the next request may leave, over all processes that use the key (invariant 6)."""

    def __init__(self, path: Path, rate: Rate, clock: Clock) -> None:
        self._path, self._rate, self._clock = path, rate, clock
        self._ticket = 0
        self._quickest, self._answers = inf, 0
        """The shortest time that an answer took: as long as that, every request is on its way and back."""
        self._open: dict[int, float] = {}
        """Tickets of this process without an answer, and when their requests left."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with in_words(path):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = off")
            self._db.execute("begin immediate")
            self._db.execute(
                "create table if not exists departures(id integer primary key, claimed real not null, at real not null)"
            )
            if "way" not in [row[1] for row in self._db.execute("pragma table_info(departures)")]:
                self._db.execute("alter table departures add column way real")
            self._db.execute(
                "create table if not exists pace(one integer primary key check(one = 1), boot text not null,"
                " wall real not null, mono real not null, value blob not null)"
            )
            self._start()
            self._db.execute("commit")

    def _start(self) -> None:
        """Begin with what other processes left; after a restart of the machine, in the new uptime's time."""
        now, wall, boot = self._clock.monotonic(), self._clock.now(), _boot()
        found = self._db.execute("select boot, wall, mono from pace").fetchone()
        if found is None:
            self._save(Pace(self._rate.limit))
        elif found[0] != boot or found[2] > now:
            # How long ago the old uptime's last request left is known by the wall clock alone; never less than nothing.
            shift = now - max(0.0, wall - found[1]) - found[2]
            self._db.execute(
                "update departures set claimed = min(claimed + ?1, ?2), at = min(at + ?1, ?2)", (shift, now)
            )
            self._save(Pace(self._rate.limit))
        else:
            pace = self._load()
            if pace.limit > self._rate.limit or pace.raise_at == inf:
                self._save(msgspec.structs.replace(pace, limit=self._rate.limit))

    def _load(self) -> Pace:
        return msgspec.msgpack.decode(self._db.execute("select value from pace").fetchone()[0], type=Pace)

    def _save(self, pace: Pace) -> None:
        self._db.execute(
            "insert or replace into pace values(1, ?, ?, ?, ?)",
            (_boot(), self._clock.now(), self._clock.monotonic(), msgspec.msgpack.encode(pace)),
        )

    def _left(self) -> list[float]:
        """When the last requests left, oldest first: `left` may have put one behind a later claim."""
        rows = self._db.execute("select at from departures order by id desc limit ?", (self._rate.limit * 2,))
        return sorted(at for (at,) in rows.fetchall())

    def _came(self, now: float) -> list[float]:
        """When they came to the API at the latest, oldest first, on a clock that is behind by the quickest way there.

        The API counts what comes and not what leaves, and between the two a busy machine may hold a request back. The
        answer tells by how much; before it is there, the request may be on its way still.
        """
        sql = "select at + coalesce(way, max(0.0, min(? - at, ?))) from departures order by id desc limit ?"
        rows = self._db.execute(sql, (now, pacing.longest_way(self._rate), self._rate.limit * 2))
        return sorted(at for (at,) in rows.fetchall())

    def _claimed(self) -> float:
        row = self._db.execute("select claimed from departures order by id desc limit 1").fetchone()
        return float("-inf") if row is None else float(row[0])

    def claim(self) -> float:
        """0.0: a request may leave, and is counted. Otherwise seconds to wait before asking again."""
        with in_words(self._path):
            self._db.execute("begin immediate")
            now = self._clock.monotonic()
            pace = self._load()
            faster = pacing.recovered(pace, self._rate, now)
            if faster is not pace:
                self._save(faster)
            claimed = self._claimed()
            left = pacing.wait(faster, self._rate, self._came(now), now, claimed=claimed)
            if not left:
                place = pacing.place(faster, self._rate, claimed, now)
                added = self._db.execute("insert into departures(claimed, at) values(?, ?)", (place, now))
                self._ticket = added.lastrowid or 0
                self._open[self._ticket] = now
                self._db.execute("delete from departures where id <= ?", (self._ticket - self._rate.limit * 2,))
            self._db.execute("commit")
        return left

    def ticket(self) -> int:
        """What names the last claim that was granted here."""
        return self._ticket

    def left(self, ticket: int) -> None:
        """The request of that claim leaves only now, because something had to be recorded first: the window moves on.

        Without this, one that is held back and one that is not would come to the API closer than they were claimed.
        """
        now = self._clock.monotonic()
        if ticket in self._open:
            self._open[ticket] = now
        with in_words(self._path):
            self._db.execute("update departures set at = max(at, ?) where id = ?", (now, ticket))

    def heard(self, sent_at: float, answered_at: float) -> None:
        """The request that left at `sent_at` was answered. It came no later than the quickest way back before that."""
        self._quickest = min(self._quickest, answered_at - sent_at)
        self._answers += 1
        left, ticket = max(((left, each) for each, left in self._open.items() if left <= sent_at), default=(0.0, 0))
        if not ticket:
            return
        del self._open[ticket]
        way = answered_at - left - (self._quickest if self._answers > FEW else 0.0)
        for lost in [each for each in self._open if each <= self._ticket - self._rate.limit * 2]:
            del self._open[lost]
        with in_words(self._path):
            way = max(0.0, min(way, pacing.longest_way(self._rate)))
            self._db.execute("update departures set way = ? where id = ?", (way, ticket))

    def pushed_back(self, sent_at: float, pause: float) -> bool:
        """A 429 answered the request that left at `sent_at`. True when the pace was lowered for it."""
        return self._change(
            lambda pace, now: pacing.pushed_back(pace, self._rate, self._left(), sent_at=sent_at, now=now, pause=pause)
        )

    def pause(self, seconds: float) -> None:
        """Nobody sends anything for a while (maintenance)."""
        self._change(lambda pace, now: pacing.pause(pace, now + seconds))

    def _change(self, change: "pacing.Change") -> bool:
        with in_words(self._path):
            self._db.execute("begin immediate")
            before = self._load()
            after = change(before, self._clock.monotonic())
            self._save(after)
            self._db.execute("commit")
        return after.limit < before.limit

    def limit(self) -> int:
        """Requests per period that are believed to be allowed now."""
        with in_words(self._path):
            return self._load().limit

    def close(self) -> None:
        self._db.close()


class NoWindow:
    """No limit is configured: only push-backs and pauses hold requests back. In memory, for this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at = float("-inf")

    def claim(self) -> float:
        return max(0.0, self._free_at - self._clock.monotonic())

    def ticket(self) -> int:
        return 0

    def left(self, ticket: int) -> None:
        """Nothing is counted."""

    def heard(self, sent_at: float, answered_at: float) -> None:
        """Nothing is learned."""

    def pushed_back(self, sent_at: float, pause: float) -> bool:
        self.pause(pause)
        return False

    def pause(self, seconds: float) -> None:
        self._free_at = max(self._free_at, self._clock.monotonic() + seconds)

    def limit(self) -> None:
        return None

    def close(self) -> None:
        """Nothing to close."""
