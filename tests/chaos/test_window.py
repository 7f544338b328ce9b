"""Invariant 6 with real processes: two runs with one key share its window."""

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from batchswap.ledger.submission_log.position import take_id
from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor
from tests.http.scripted import Act, Request
from tests.http.scripted_replies import ok, reply
from tests.waits import wait_until

RATE, LIMIT, PERIOD = "16/1s", 16, 1.0
TRAVEL = 0.1
"""Difference in seconds between the travel times of requests on a busy machine."""


def second_ledger(shop: Shop, name: str) -> Shop:
    """Make another ledger with the same key, home and vendor. A copy of the same ledger would be refused."""
    folder = shop.folder / name
    folder.mkdir()
    (folder / "b.db").write_bytes((shop.folder / "b.db").read_bytes())
    with closing(sqlite3.connect(folder / "b.db")) as db, db:
        take_id(db, f"ledger-{name}")
    return Shop(folder, shop.vendor, shop.key, home=shop.folder)


def test_invariant_6_two_processes_stay_in_one_window(old_shop: Shop) -> None:
    shops = [second_ledger(old_shop, name) for name in "ab"]
    for shop, letter in zip(shops, "rs", strict=True):
        shop.rows(8, letter)
        text = (shop.folder / "spring.csv").read_text()
        (shop.folder / "spring.csv").write_text(text.replace("cdn.example", f"{letter}.example"))
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda shop: shop.process("--rate", RATE), shops))
    assert [run.returncode for run in runs] == [0, 0]
    assert old_shop.vendor.requests("submit") == 16
    assert old_shop.vendor.busiest(PERIOD - TRAVEL) <= LIMIT


def test_invariant_6_a_command_with_another_rate_makes_no_run_faster(old_shop: Shop) -> None:
    old_shop.rows(16)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(old_shop.process, "--rate", "8/1s")
        wait_until(lambda: old_shop.vendor.requests() >= 4, "four requests of the run")
        assert old_shop.call("balance", "--base-url", old_shop.vendor.url).exit_code == 0  # its rate is 20/10s
        assert running.result(60).returncode == 0
    assert old_shop.vendor.busiest(PERIOD - TRAVEL) <= 8 + 1


def test_a_damaged_window_does_not_stop_commands(old_shop: Shop) -> None:
    pairs = old_shop.rows(2)
    assert old_shop.call("balance", "--base-url", old_shop.vendor.url).exit_code == 0
    (window,) = (old_shop.folder / "state/batchswap").glob("window-*.db")
    for junk in (bytes(4096), b"junk" * 1024):
        window.write_bytes(junk)
        assert old_shop.call("balance", "--base-url", old_shop.vendor.url).exit_code == 0
    window.write_bytes(bytes(4096))
    assert old_shop.run("--rate", RATE).exit_code == 0
    assert old_shop.results() == old_shop.expected(pairs)


def test_invariant_6_a_restart_continues_the_window(old_shop: Shop) -> None:
    """The vendor requests a pause and the process dies at once. The next process keeps the pause."""
    pairs = old_shop.rows(4)
    old_shop.vendor.spoil = refuse_once
    point = "batchswap.ratelimit.shared_window:SharedWindow.pushed_back@after"
    assert old_shop.process("--rate", RATE, point=point).returncode == -signal.SIGKILL
    refused_at = old_shop.vendor.arrivals[-1][0]
    before = old_shop.vendor.requests()
    assert old_shop.run("--rate", RATE).exit_code in (0, 4)
    assert old_shop.vendor.arrivals[before][0] - refused_at >= 0.8
    assert max(old_shop.vendor.accepted.values()) == 1
    assert old_shop.vendor.accepted.total() >= len(pairs) - 1


def refuse_once(vendor: Vendor, kind: str, request: Request) -> Act | None:
    if kind == "submit" and vendor.requests("submit") == 2:
        return reply(429, json=ok(None, 429), headers={"Retry-After": "1"})
    return None
