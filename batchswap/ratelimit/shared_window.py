"""The rate limit window of one API key, shared by all processes of this user on this machine.

One small SQLite file per key holds the recent departures, the rates of the runs in progress, and the limit learned
from 429s. Runs with different rates share the lowest one; a one-off command adopts it. The file is not synced: losing
it costs nothing. Its name is a fingerprint of the key, never the key itself.
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
"""First answers to ignore when measuring the quickest one, because they include the time to connect."""
KEPT = 10_000
"""Least number of departures to keep. A high limit needs more."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(key: str, base_url: str) -> str:
    """Return 12 hex digits that identify a key at an API without revealing it."""
    return hashlib.blake2b(f"{base_url}\0{key}".encode(), digest_size=6).hexdigest()


def _boot() -> str:
    """Return an identifier of the machine's uptime, with which time restarts, and of the clock.

    Earlier versions left out the time in which the machine slept.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() + " with sleep"
    except OSError:
        return ""


class SharedWindow:
    """The window of all processes that use the key (invariant 6)."""

    def __init__(
        self, path: Path, rate: Rate, clock: Clock, patience: float = inf, *, adopts_rate: bool = False
    ) -> None:
        """`patience` is the longest time to respect a pause, in seconds. Then, a request tries again.

        With `adopts_rate`, the rate of the runs in progress replaces this one and is not changed by it.
        """
        self._adopts_rate = adopts_rate
        self._path, self._rate, self._clock, self._patience = path, rate, clock, patience
        self._paused_since = inf
        """When this process first noticed the present pause."""
        self._ticket, self._kept = 0, max(KEPT, 2 * rate.limit)
        self._quickest, self._answers = inf, 0
        """The shortest response time, taken as the travel time of all requests and answers."""
        self._open: dict[int, float] = {}
        """When the unanswered requests of this process left, by ticket."""
        self._file = Shared(path, self._begin)

    def _begin(self, db: sqlite3.Connection, is_new: bool) -> None:
        """Adopt the state of other processes. After a restart of the machine, convert it to the new monotonic time.

        If the file was damaged or is of an older version, the departures are unknown and the window counts as full.
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
            # Only the wall clock tells how long ago the last request of the old uptime left. It may have been set back.
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
        """Return the latest possible arrivals at the API since `since`, minus the shortest travel time.

        The API counts requests when they arrive, and a busy machine may delay a request after its departure. The
        answer shows by how much; until it is there, the request may still be on its way.
        """
        sql = "at + coalesce(way, max(0.0, min(? - at, ?)))"
        return self._gather(db, sql, since, now, rule.longest_way(self._rate))

    def _gather(self, db: sqlite3.Connection, moment: str, since: float, *values: float) -> Departures:
        """Return the departures since `since`. The SQL expression `moment` gives their times, mostly in order."""
        place, found = -inf, list[float]()
        with closing(db.execute(f"select claimed, {moment} from departures order by id desc", values)) as rows:
            for claimed, at in rows:
                if at < since:
                    break
                place = max(place, claimed)
                found.append(at)
        return Departures(place, sorted(found))

    def _rates(self, db: sqlite3.Connection, now: float) -> tuple[Rate, Rate | None]:
        """Return the rate of this process, and the slowest one of the runs in progress."""
        rows = db.execute("select requests, period from rates where seen > ? - 2 * period", (now,))
        slowest = min((Rate(*row) for row in rows), key=lambda each: each.speed, default=None)
        return slowest if slowest and self._adopts_rate else self._rate, slowest

    def claim(self) -> float:
        """Claim a place for a request. Return 0.0, or the seconds to wait before the next try."""
        left, ticket, now = self._file.change(self._claim)
        if ticket:
            self._ticket, self._open[ticket] = ticket, now
        return left

    def _claim(self, db: sqlite3.Connection) -> tuple[float, int, float]:
        """Return the seconds to wait, the ticket (0 for none), and the time."""
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
        """Limit the pause to this process's patience. Other processes keep the full pause."""
        if now >= pace.paused_until:
            self._paused_since = inf
            return pace
        self._paused_since = min(self._paused_since, now)
        until = min(pace.paused_until, self._paused_since + self._patience)
        return msgspec.structs.replace(pace, paused_until=until)

    def ticket(self) -> int:
        """Return the number of the last claim that was granted here."""
        return self._ticket

    def left(self, ticket: int) -> None:
        """Record that the request of this claim leaves only now, because something had to be committed first.

        Without this, a delayed request and the next one could arrive closer together than their places.
        """
        now = self._clock.monotonic()
        if ticket in self._open:
            self._open[ticket] = now
        self._file.change(lambda db: db.execute("update departures set at = max(at, ?) where id = ?", (now, ticket)))

    def on_answer(self, sent_at: float, answered_at: float) -> None:
        """Record the answer to the request that left at `sent_at`, which bounds the time of its arrival."""
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
        """Record a 429 to the request that left at `sent_at`. Return whether the pace was lowered."""

        def push_back(db: sqlite3.Connection, pace: Pace, now: float) -> Pace:
            sent = self._gather(db, "at", sent_at - rule.reach(pace, self._rate))
            sent.slowest = self._rates(db, now)[1]
            return rule.pushed_back(pace, self._rate, sent, sent_at=sent_at, now=now, pause=pause)

        return self._change(push_back)

    def pause(self, seconds: float) -> None:
        """Send nothing for `seconds`, in all processes (maintenance)."""
        self._change(lambda _, pace, now: rule.pause(pace, now + seconds))

    def _change(self, change: Callable[[sqlite3.Connection, Pace, float], Pace]) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            before = self._load(db)
            after = change(db, before, self._clock.monotonic())
            self._save(db, after)
            return rule.allowed(after, self._rate) < rule.allowed(before, self._rate)

        return self._file.change(work)

    def limit(self) -> int:
        """Return the estimated number of requests per period that this process may send."""
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
    """The window without a configured limit. Only 429s and pauses of this process delay requests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at = float("-inf")

    def claim(self) -> float:
        return max(0.0, self._free_at - self._clock.monotonic())

    def ticket(self) -> int:
        return 0

    def left(self, ticket: int) -> None:
        """Do nothing: departures are not counted."""

    def on_answer(self, sent_at: float, answered_at: float) -> None:
        """Do nothing: travel times are not measured."""

    def pushed_back(self, sent_at: float, pause: float) -> bool:
        self.pause(pause)
        return False

    def pause(self, seconds: float) -> None:
        self._free_at = max(self._free_at, self._clock.monotonic() + seconds)

    def limit(self) -> None:
        return None

    def close(self) -> None:
        """Do nothing."""
