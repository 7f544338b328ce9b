"""The key's window: shared by processes, kept over restarts, and silent about the key."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.clock import SystemClock
from batchswap.ratelimit.rule import Rate
from batchswap.ratelimit.shared_window import NoWindow, SharedWindow, fingerprint


class SetClock(SystemClock):
    """A clock that does not move by itself."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_790_000_000.0, 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


RATE = Rate(5, 10.0)


def drain(window: SharedWindow, clock: SetClock, seconds: float, *, heard: bool = False) -> list[float]:
    """Send whenever the window allows it, for a while."""
    sent, end = [], clock.mono + seconds
    while clock.mono < end:
        wait = window.claim()
        if wait:
            clock.pass_time(wait)
        else:
            sent.append(clock.mono)
            if heard:
                window.on_answer(clock.mono, clock.mono)
    return sent


def busiest(sent: list[float], period: float) -> int:
    return max((sum(1 for each in sent if start <= each < start + period) for start in sent), default=0)


def test_two_windows_on_one_file_are_one_window(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as one, closing(SharedWindow(path, RATE, clock)) as two:
        assert one.claim() == 0.0
        assert two.claim() > 0.0


def test_a_restart_remembers(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as window:
        sent = drain(window, clock, 20.0)
    with closing(SharedWindow(path, RATE, clock)) as window:
        sent += drain(window, clock, 20.0)
    assert all(later - earlier >= 10.0 for earlier, later in zip(sent, sent[5:], strict=False))


def test_a_restart_of_the_machine_does_not_forget(tmp_path: Path, clock: SetClock, boot: list[str]) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as window:
        assert window.claim() == 0.0
    boot[0] = "another uptime"
    clock.mono = 3.0
    clock.wall += 1.0
    with closing(SharedWindow(path, RATE, clock)) as window:
        assert 0.5 < window.claim() < 2.1
    clock.wall -= 3600.0  # the wall clock was set back: never a reason to hurry, nor to wait for an hour
    with closing(SharedWindow(path, RATE, clock)) as window:
        assert window.claim() < 2.1


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    file = tmp_path / "boot_id"
    name = ["one uptime"]

    class Changing(type(file)):  # type: ignore[misc]
        def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
            return name[0]

    monkeypatch.setattr("batchswap.ratelimit.shared_window._BOOT_ID", Changing(file))
    yield name


def test_a_429_slows_all_processes(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as one, closing(SharedWindow(path, RATE, clock)) as two:
        drain(one, clock, 6.0)
        assert one.pushed_back(clock.mono, 30.0)
        assert two.claim() >= 30.0
        assert two.limit() < 5


def test_a_pause_without_a_limit(clock: SetClock) -> None:
    window = NoWindow(clock)
    assert window.claim() == 0.0
    window.pause(5.0)
    assert window.claim() == 5.0
    clock.pass_time(5.0)
    assert window.claim() == 0.0


def test_the_file_names_no_key(tmp_path: Path) -> None:
    key = "ak_" + "x" * 32
    assert key not in fingerprint(key, "https://api.example")
    assert fingerprint(key, "https://a") != fingerprint(key, "https://b") != fingerprint("other", "https://b")


IMPORTS = """
import sys, time
from pathlib import Path
from batchswap.clock import SystemClock
from batchswap.ratelimit.shared_window import SharedWindow
from batchswap.ratelimit.rule import Rate
path = Path(sys.argv[1])
"""
CLAIMING = """
sent, end = [], time.monotonic() + 1.5
while time.monotonic() < end:
    wait = window.claim()
    if wait:
        time.sleep(wait)
    else:
        sent.append(time.monotonic())
"""
PROCESS = f"""{IMPORTS}
window = SharedWindow(path, Rate(20, 0.5), SystemClock())
{CLAIMING}
print(*sent)
"""


def test_invariant_6_over_two_processes(tmp_path: Path) -> None:
    started = time.monotonic()
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "w.db")]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sent = sorted(float(word) for process in pair for word in process.communicate(timeout=30)[0].split())
    assert sent[0] >= started
    assert len(sent) > 20
    # The recorded time is just before the claim returns; a slow process may report it later.
    assert all(later - earlier > 0.48 for earlier, later in zip(sent, sent[20:], strict=False))


def test_invariant_6_a_request_that_is_held_back_after_its_claim_counts_from_when_it_leaves(
    tmp_path: Path, clock: SetClock
) -> None:
    with closing(SharedWindow(tmp_path / "window.db", RATE, clock)) as window:
        left = []
        for number in range(30):
            while wait := window.claim():
                clock.pass_time(wait)
            if number % 3 == 0:
                ticket = window.ticket()
                clock.pass_time(0.9)
                window.left(ticket)
            left.append(clock.mono)
        for first, sixth in zip(left, left[RATE.limit :], strict=False):
            assert sixth - first >= RATE.period


class Road:
    """Requests of two processes to an API that counts them when they arrive, on a clock that jumps."""

    def __init__(self, path: Path, rate: Rate, clock: SetClock, dice: random.Random, jitter: float) -> None:
        self.clock, self.dice, self.jitter = clock, dice, jitter
        self.windows = [SharedWindow(path, rate, clock), SharedWindow(path, rate, clock)]
        self.came: list[float] = []
        self.answers: list[tuple[float, float, SharedWindow]] = []

    def travel(self) -> float:
        """Return the seconds to the API or back; usually few."""
        return 0.02 + (self.dice.uniform(0.0, self.jitter) if self.dice.random() < 0.3 else 0.0)

    def pass_time(self, seconds: float) -> None:
        """Record answers when they arrive."""
        end = self.clock.mono + seconds
        while self.answers and min(self.answers, key=lambda each: each[0])[0] <= end:
            first = min(self.answers, key=lambda each: each[0])
            self.answers.remove(first)
            self.clock.pass_time(max(0.0, first[0] - self.clock.mono))
            first[2].on_answer(first[1], self.clock.mono)
        self.clock.pass_time(max(0.0, end - self.clock.mono))

    def send(self) -> None:
        window = self.dice.choice(self.windows)
        while wait := window.claim():
            self.pass_time(min(wait, 0.03))
        came = self.clock.mono + self.travel()
        self.came.append(came)
        self.answers.append((came + self.travel(), self.clock.mono, window))

    def close(self) -> None:
        for window in self.windows:
            window.close()


@pytest.mark.parametrize("seed", range(8))
def test_invariant_6_as_the_api_counts_it_when_requests_travel_at_different_speeds(
    tmp_path: Path, clock: SetClock, seed: int
) -> None:
    rate = Rate(10, 1.0)
    with closing(Road(tmp_path / "w.db", rate, clock, random.Random(seed), jitter=0.12)) as road:
        for _ in range(150):
            road.send()
        came = sorted(road.came)
    assert all(later - earlier >= rate.period for earlier, later in zip(came, came[rate.limit :], strict=False))


def test_a_steady_delay_costs_nothing(tmp_path: Path, clock: SetClock) -> None:
    """An API that always answers after half a second gets as many requests as one that answers at once."""
    rate = Rate(20, 10.0)
    with closing(SharedWindow(tmp_path / "w.db", rate, clock)) as window:
        begun = clock.mono
        for _ in range(201):
            while wait := window.claim():
                clock.pass_time(wait)
            sent = clock.mono
            clock.pass_time(0.5 - 1e-9)
            window.on_answer(sent, clock.mono)
    assert (clock.mono - begun) / 100.0 < 1.025


def test_an_answer_that_belongs_to_no_claim_changes_nothing(tmp_path: Path, clock: SetClock) -> None:
    with closing(SharedWindow(tmp_path / "w.db", RATE, clock)) as window:
        window.on_answer(clock.mono, clock.mono + 1.0)
        assert window.claim() == 0.0


# A file that a power cut has damaged, as it is not synced.

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda whole: bytes(len(whole)),
    "no header": lambda whole: b"junk" + whole[4:],
    "no tables": lambda whole: whole[:4096] + b"junk" * (len(whole) // 4 - 1024),
    "half of it": lambda whole: whole[: len(whole) // 2],
    "one byte": lambda _: b"x",
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_window_is_created_again_as_full(
    tmp_path: Path, clock: SetClock, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as window:
        sent = drain(window, clock, 25.0)
    path.write_bytes(damage(path.read_bytes()))
    begun = clock.mono
    with closing(SharedWindow(path, RATE, clock)) as window, closing(SharedWindow(path, RATE, clock)) as other:
        assert window.claim() > 0.0
        assert other.claim() > 0.0
        sent += drain(window, clock, 25.0)
    assert busiest(sent, RATE.period) <= RATE.limit
    assert sum(1 for each in sent if each > begun) >= 10


def test_a_window_with_an_unreadable_pace_is_created_again(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as window:
        assert window.claim() == 0.0
        with closing(sqlite3.connect(path)) as db:
            db.execute("update taught set pace = x'c1'")
            db.commit()
        assert 0.0 < window.claim() < 3.0
        assert window.limit() == RATE.limit


def test_two_processes_share_one_window_after_a_damage(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, RATE, clock)) as one:
        sent = drain(one, clock, 25.0)
        path.write_bytes(bytes(4096))
        with closing(SharedWindow(path, RATE, clock)) as two:
            for _ in range(20):
                sent += drain(one, clock, 1.0) + drain(two, clock, 1.0)
    assert busiest(sent, RATE.period) <= RATE.limit
    assert len(sent) > 25


FINDER = f"""{IMPORTS}
while time.monotonic() < float(sys.argv[2]):
    pass
window = SharedWindow(path, Rate(10, 1.0), SystemClock())
{CLAIMING}
print(path.stat().st_ino, *sent)
"""


def test_invariant_6_over_processes_that_find_the_window_damaged_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    path.write_bytes(bytes(8192))
    command = [sys.executable, "-c", FINDER, str(path), str(time.monotonic() + 1.0)]
    finders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=30)[0].split() for process in finders]
    assert {words[0] for words in said} == {str(path.stat().st_ino)}
    sent = sorted(float(each) for words in said for each in words[1:])
    assert len(sent) > 8
    assert busiest(sent, 0.96) <= 10


# Processes with different rates.

OTHERS = [Rate(20, 10.0), Rate(100, 60.0), Rate(1200, 3600.0), Rate(1, 10.0), Rate(5, 1.0)]


@pytest.mark.parametrize("other", OTHERS, ids=str)
@pytest.mark.parametrize("own", [RATE, Rate(20, 10.0), Rate(100, 60.0)], ids=str)
def test_invariant_6_a_command_with_another_rate_changes_nothing_for_a_run(
    tmp_path: Path, clock: SetClock, own: Rate, other: Rate
) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, own, clock)) as window:
        alone = len(drain(window, clock, 180.0, heard=True))
        with closing(SharedWindow(path, other, clock, adopts_rate=True)) as passing:
            assert passing.limit() == other.limit
            assert window.limit() == own.limit
            drain(passing, clock, 0.1, heard=True)
        sent = drain(window, clock, 180.0, heard=True)
    assert busiest(sent, own.period) <= own.limit
    assert len(sent) >= alone - 2


def test_invariant_6_a_long_period_is_kept_with_short_ones(tmp_path: Path, clock: SetClock) -> None:
    """A command that needs few departures keeps those that other processes need."""
    path, rate = tmp_path / "w.db", Rate(60, 600.0)
    with (
        closing(SharedWindow(path, rate, clock)) as window,
        closing(SharedWindow(path, Rate(1, 1.0), clock)) as passing,
    ):
        sent = []
        for _ in range(12):
            sent += drain(window, clock, 100.0) + drain(passing, clock, 3.0)
        with closing(sqlite3.connect(path)) as db:
            kept = db.execute("select count(*) from departures where at > ?", (clock.mono - 600.0,))
            assert kept.fetchone()[0] == sum(1 for each in sent if each > clock.mono - 600.0)
    assert busiest(sent, rate.period) <= rate.limit


def test_two_runs_with_different_rates_share_the_lower_one_and_both_progress(tmp_path: Path, clock: SetClock) -> None:
    path, fast, slow, dice = tmp_path / "w.db", Rate(20, 10.0), RATE, random.Random(4)
    with closing(SharedWindow(path, fast, clock)) as one, closing(SharedWindow(path, slow, clock)) as two:
        sent: dict[SharedWindow, list[float]] = {one: [], two: []}
        turns = {one: clock.mono, two: clock.mono}
        while clock.mono < 1300.0:
            window = min(turns, key=turns.__getitem__)
            clock.pass_time(max(0.0, turns[window] - clock.mono))
            if wait := window.claim():
                turns[window] = clock.mono + wait + dice.uniform(0.0, 0.01)
            else:
                sent[window].append(clock.mono)
                window.on_answer(clock.mono, clock.mono)
    assert busiest(sorted(sent[one] + sent[two]), slow.period) <= slow.limit
    assert min(len(sent[one]), len(sent[two])) > 45
    assert len(sent[one]) + len(sent[two]) > 140


def test_a_run_has_its_own_rate_again_when_the_slower_one_has_ended(tmp_path: Path, clock: SetClock) -> None:
    path, fast = tmp_path / "w.db", Rate(20, 10.0)
    with closing(SharedWindow(path, fast, clock)) as one:
        with closing(SharedWindow(path, RATE, clock)) as two:
            assert two.claim() == 0.0
            assert len(drain(one, clock, 2 * RATE.period - 1.0, heard=True)) < 2 * RATE.limit
        clock.pass_time(RATE.period)
        assert len(drain(one, clock, 100.0, heard=True)) > 190


def test_a_command_adopts_the_rate_of_a_run(tmp_path: Path, clock: SetClock) -> None:
    """With a lower rate of its own it would wait for ever, because it counts the requests of the run."""
    for own in (Rate(1, 10.0), Rate(1200, 60.0)):
        path = tmp_path / f"{own.limit}.db"
        with closing(SharedWindow(path, Rate(20, 10.0), clock)) as run:
            drain(run, clock, 30.0, heard=True)
            with closing(SharedWindow(path, own, clock, adopts_rate=True)) as passing:
                assert len(drain(passing, clock, 10.0, heard=True)) in (19, 20)


def test_the_limit_learned_from_429s_is_kept_for_another_rate(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(SharedWindow(path, Rate(20, 10.0), clock)) as window:
        drain(window, clock, 6.0)
        window.pushed_back(clock.mono, 1.0)
        learned = window.limit()
        for other in OTHERS:
            SharedWindow(path, other, clock).close()
        assert window.limit() == learned < 20
        with closing(SharedWindow(path, Rate(200, 10.0), clock)) as quick:
            assert quick.limit() == learned


def test_the_window_of_an_older_version_is_created_again_as_full(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "w.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table departures(id integer primary key, claimed real not null, at real not null, way real)")
        db.execute("insert into departures values(1, 5e5, 5e5, null)")  # of an unknown uptime
        db.execute("create table pace(one integer primary key check(one = 1), boot, wall, mono, value)")
        db.execute("insert into pace values(1, 'another', 1.0, 5e5, x'80')")
        db.commit()
    begun = clock.mono
    with closing(SharedWindow(path, RATE, clock)) as window:
        sent = drain(window, clock, 30.0)
        before = [begun - 2.0 * i for i in range(RATE.limit)]
        assert busiest(before + sent, RATE.period) <= RATE.limit
        assert sent[0] - begun < 3.0
        with closing(sqlite3.connect(path)) as db:  # a process of that version still runs
            db.executemany("insert into departures(claimed, at) values(?1, ?1)", [(clock.mono,)] * RATE.limit)
            db.commit()
        assert window.claim() > RATE.period
