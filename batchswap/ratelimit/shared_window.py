"""The sent requests of one API key, shared by all processes of this user on this machine.

One small SQLite file per key: what has left, the rates of the runs in progress, and what 429s have taught. Runs with
different rates share the lowest one; a command that runs beside them adopts it. The file is a log of the recent past,
not a record: it is not synced, and if it is lost nothing is paid twice. Its name is a fingerprint of the
key, never the key.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from math import inf
from pathlib import Path

import msgspec

from batchswap.clock import Clock
from batchswap.errors import LedgerDamaged
from batchswap.ratelimit import rule
from batchswap.ratelimit.rule import Departures, Pace, Rate
from batchswap.ratelimit.shared_file import Shared

FEW = 10
"""Answers that do not tell yet how quick one can be: the first ones wait for connections."""
KEPT = 10_000
"""Departures that are kept at least: a rate with a long period needs more than others."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(key: str, base_url: str) -> str:
    """12 hex digits that name a key at an API without telling it."""
    return hashlib.blake2b(f"{base_url}\0{key}".encode(), digest_size=6).hexdigest()


def _boot() -> str:
    """What tells one uptime of the machine from the next: monotonic time starts anew with it."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SharedWindow:
    """When the next request may leave, over all processes that use the key (invariant 6)."""

    def __init__(
        self, path: Path, rate: Rate, clock: Clock, patience: float = inf, *, adopts_rate: bool = False
    ) -> None:
        """`patience`: seconds for which a pause is kept, whoever was asked for it; then a request tries again.

        `adopts_rate`: where runs are in progress, their rate holds in place of this one, and is not changed by it.
        """
        self._adopts_rate = adopts_rate
        self._path, self._rate, self._clock, self._patience = path, rate, clock, patience
        self._paused_since = inf
        """When this process first met the pause that lasts."""
        self._ticket, self._kept = 0, max(KEPT, 2 * rate.limit)
        self._quickest, self._answers = inf, 0
        """The shortest time that an answer took: as long as that, every request is on its way and back."""
        self._open: dict[int, float] = {}
        """Tickets of this process without an answer, and when their requests left."""
        self._file = Shared(path, self._begin)

    def _begin(self, db: sqlite3.Connection, is_new: bool) -> None:
        """Go on with what other processes left; after a restart of the machine, in the new uptime's time.

        What has left is not known of a file that was damaged, nor of an older version's: it is taken for full.
        """
        self._open.clear()
        _make_tables(db)
        now, wall, boot = self._clock.monotonic(), self._clock.now(), _boot()
        found = db.execute("select boot, wall, mono from taught").fetchone()
        if found is None:
            db.execute("delete from departures")
            if not is_new:
                way = rule.longest_way(self._rate)
                _add(db, now, place=now + way, way=way)
            self._save(db, Pace())
        elif found[0] != boot or found[2] > now:
            # How long ago the old uptime's last request left is known by the wall clock alone; never less than nothing.
            shift = now - max(0.0, wall - found[1]) - found[2]
            db.execute("update departures set claimed = min(claimed + ?1, ?2), at = min(at + ?1, ?2)", (shift, now))
            db.execute("delete from rates")
            self._save(db, Pace())
        else:
            self._load(db)

    def _load(self, db: sqlite3.Connection) -> Pace:
        try:
            return msgspec.msgpack.decode(db.execute("select pace from taught").fetchone()[0], type=Pace)
        except msgspec.DecodeError as error:
            raise LedgerDamaged(f"{self._path}: is damaged ({error})") from error

    def _save(self, db: sqlite3.Connection, pace: Pace) -> None:
        db.execute(
            "insert or replace into taught values(1, ?, ?, ?, ?)",
            (_boot(), self._clock.now(), self._clock.monotonic(), msgspec.msgpack.encode(pace)),
        )

    def _came(self, db: sqlite3.Connection, since: float, now: float) -> Departures:
        """What came to the API at the latest since then, on a clock that is behind by the quickest way there.

        The API counts what comes and not what leaves, and between the two a busy machine may hold a request back. The
        answer tells by how much; before it is there, the request may be on its way still.
        """
        sql = "at + coalesce(way, max(0.0, min(? - at, ?)))"
        return self._gather(db, sql, since, now, rule.longest_way(self._rate))

    def _gather(self, db: sqlite3.Connection, moment: str, since: float, *values: float) -> Departures:
        """Return what has left back to `since`, by what `moment` says of each; all but late ones are in order."""
        place, found = -inf, list[float]()
        with closing(db.execute(f"select claimed, {moment} from departures order by id desc", values)) as rows:
            for claimed, at in rows:
                if at < since:
                    break
                place = max(place, claimed)
                found.append(at)
        return Departures(place, sorted(found))

    def _rates(self, db: sqlite3.Connection, now: float) -> tuple[Rate, Rate | None]:
        """Return the rate that holds for this process, and the slowest one of the runs in progress."""
        rows = db.execute("select requests, period from rates where seen > ? - 2 * period", (now,))
        slowest = min((Rate(*row) for row in rows), key=lambda each: each.speed, default=None)
        return slowest if slowest and self._adopts_rate else self._rate, slowest

    def claim(self) -> float:
        """0.0: a request may leave, and is counted. Otherwise seconds to wait before asking again."""
        left, ticket, now = self._file.change(self._claim)
        if ticket:
            self._ticket, self._open[ticket] = ticket, now
        return left

    def _claim(self, db: sqlite3.Connection) -> tuple[float, int, float]:
        """Seconds to wait, the ticket, and when it was given out."""
        now = self._clock.monotonic()
        pace = self._load(db)
        faster = rule.recovered(pace, self._rate, now)
        if faster is not pace:
            self._save(db, faster)
        faster = self._clamped(faster, now)
        rate, slowest = self._rates(db, now)
        sent = self._came(db, now - rule.reach(faster, rate, slowest or rate), now)
        sent.slowest = slowest
        if not self._adopts_rate:
            db.execute("insert or replace into rates values(?, ?, ?)", (rate.limit, rate.period, now))
        if left := rule.wait(faster, rate, sent, now):
            return left, 0, now
        ticket = _add(db, now, place=rule.place(faster, rate, sent, now))
        db.execute("delete from departures where id <= ?", (ticket - self._kept,))
        return 0.0, ticket, now

    def _clamped(self, pace: Pace, now: float) -> Pace:
        """The pace as far as this process is patient with its pause: the others keep what they read."""
        if now >= pace.paused_until:
            self._paused_since = inf
            return pace
        self._paused_since = min(self._paused_since, now)
        until = min(pace.paused_until, self._paused_since + self._patience)
        return msgspec.structs.replace(pace, paused_until=until)

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
        self._file.change(lambda db: db.execute("update departures set at = max(at, ?) where id = ?", (now, ticket)))

    def heard(self, sent_at: float, answered_at: float) -> None:
        """The request that left at `sent_at` was answered. It came no later than the quickest way back before that."""
        self._quickest = min(self._quickest, answered_at - sent_at)
        self._answers += 1
        left, ticket = max(((left, each) for each, left in self._open.items() if left <= sent_at), default=(0.0, 0))
        if not ticket:
            return
        del self._open[ticket]
        spent = answered_at - left - (self._quickest if self._answers > FEW else 0.0)
        way = max(0.0, min(spent, rule.longest_way(self._rate)))
        for lost in [each for each in self._open if each <= self._ticket - self._rate.limit * 2]:
            del self._open[lost]
        self._file.change(lambda db: db.execute("update departures set way = ? where id = ?", (way, ticket)))

    def pushed_back(self, sent_at: float, pause: float) -> bool:
        """A 429 answered the request that left at `sent_at`. True when the pace was lowered for it."""

        def push_back(db: sqlite3.Connection, pace: Pace, now: float) -> Pace:
            sent = self._gather(db, "at", sent_at - rule.reach(pace, self._rate))
            sent.slowest = self._rates(db, now)[1]
            return rule.pushed_back(pace, self._rate, sent, sent_at=sent_at, now=now, pause=pause)

        return self._change(push_back)

    def pause(self, seconds: float) -> None:
        """Nobody sends anything for a while (maintenance)."""
        self._change(lambda _, pace, now: rule.pause(pace, now + seconds))

    def _change(self, change: Callable[[sqlite3.Connection, Pace, float], Pace]) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            before = self._load(db)
            after = change(db, before, self._clock.monotonic())
            self._save(db, after)
            return rule.allowed(after, self._rate) < rule.allowed(before, self._rate)

        return self._file.change(work)

    def limit(self) -> int:
        """Requests per period that are believed to be allowed to this process now."""
        return self._file.read(lambda db: rule.allowed(self._load(db), self._rate))

    def close(self) -> None:
        self._file.close()


def _make_tables(db: sqlite3.Connection) -> None:
    db.execute("create table if not exists departures(id integer primary key, claimed real not null, at real not null)")
    if "way" not in [row[1] for row in db.execute("pragma table_info(departures)")]:
        db.execute("alter table departures add column way real")
    db.execute(
        "create table if not exists rates(requests integer, period real, seen real not null,"
        " primary key(requests, period)) without rowid"
    )
    db.execute(
        "create table if not exists taught(one integer primary key check(one = 1), boot text not null,"
        " wall real not null, mono real not null, pace blob not null)"
    )


def _add(db: sqlite3.Connection, now: float, *, place: float, way: float | None = None) -> int:
    """Record a departure and return its number."""
    return db.execute("insert into departures(claimed, at, way) values(?, ?, ?)", (place, now, way)).lastrowid or 0


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
