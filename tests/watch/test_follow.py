"""The live page follows the ledger, and its orders are the decisions of the commands."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import LedgerError
from batchswap.ledger import page_queries
from batchswap.ledger.file import connection
from batchswap.ledger.file.connection import VERSION
from batchswap.ledger.file.lock import hold
from batchswap.operations.ledger_access import reading
from batchswap.report.page.task_cells import FIELDS
from batchswap.watch import feed
from batchswap.watch.feed import Feed, mark_text, parse_mark
from batchswap.watch.live_pages import LivePages, TimeLineCache
from tests.browser.nights import Night
from tests.cli.conftest import Place, _server, call, forgetful, place, shop, work
from tests.cli.test_duplicates import submits
from tests.cli.test_words import change, state
from tests.http.local import Running
from tests.waits import wait_until
from tests.watch.conftest import Watched, watching

__all__ = ["_server", "forgetful", "place", "shop"]
"""Fixtures of tests/cli."""


@pytest.fixture
def night(shop: Place) -> Iterator[Watched]:
    """Return a server for three results, one of them of a run that is over."""
    assert work(shop.manifest("spring.csv", 3)).exit_code == 0
    with watching(shop.folder) as server:
        yield server


def mark_now() -> str:
    """Return the mark that a page would have now."""
    with reading(Path("batchswap.db")) as db:
        return mark_text(page_queries.mark(db))


def rows(update: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks of an update, with the names that the page uses."""
    names = {
        "batch",
        "state",
        "quality",
        "review",
        "code",
        "reason",
        "target",
        "face",
        "consent",
        "tags",
        "kind",
        "original",
    }
    return [
        {field: update["names"][cell] if field in names else cell for field, cell in zip(FIELDS, row, strict=True)}
        for row in update["rows"]
    ]


def after(events: Iterator[tuple[str, Any]], wanted: str) -> Any:
    """Return the data of the next event with this name."""
    return next(data for name, data in events if name == wanted)


def test_every_open_page_gets_only_what_has_changed(night: Watched) -> None:
    since = mark_now()
    with night.events(since) as first, night.events(since) as second:
        assert call("review", "--reject", "r1", "--note", "no").exit_code == 0
        for events in (first, second):
            found = dict[str, Any]()
            while not {"update", "sections"} <= set(found):
                found.update([next(events)])
            [row] = rows(found["update"])
            assert (row["key"], row["review"], row["file"]) == ("r1", "rejected", "rejected/spring/r1.mp4")
            assert "verdict" in found["sections"]
    with night.events(since) as late:
        assert [row["key"] for row in rows(after(late, "update"))] == ["r1"], "what a page missed before it connected"


def test_a_page_loads_again_after_another_run_and_with_a_mark_of_another_ledger(night: Watched) -> None:
    since = mark_now()
    with night.events(since) as events:
        assert submits("spring.csv") == 0
        assert after(events, "reload") == {}
    for other in ("", "x", "1-2-3", "9-9-9-9"):
        with night.events(other) as events:
            assert after(events, "reload") == {}


def test_a_ledger_may_come_later_and_go_away(shop: Place) -> None:
    with watching(shop.folder) as server:
        assert b"There is no ledger yet" in server.ask("/")[2]
        assert server.order(action="accept", names=["r0"]) == (
            503,
            "batchswap.db: there is no ledger; `batchswap run` creates it, --db names another one",
        )
        assert server.ask("/result/1")[0] == 404
        with server.events() as events:
            assert next(events)[0] == "hello"
            assert work(shop.manifest("spring.csv", 1)).exit_code == 0
            assert after(events, "reload") == {}
        assert b"spring" in server.ask("/")[2]
        for path in shop.folder.glob("batchswap.db*"):
            path.unlink()
        assert b"There is no ledger yet" in server.ask("/")[2]


def test_a_ledger_has_a_page_before_its_first_rows(shop: Place) -> None:
    """A run creates the ledger before it has read the manifest."""
    connection.create(Path("batchswap.db"))
    with watching(shop.folder) as server:
        status, _, page = server.ask("/")
        assert (status, b'"mark":{"run":0,"task":0' in page) == (200, True)
        with server.events("0-0-0-0") as events:
            after(events, "sections")
            assert work(shop.manifest("spring.csv", 1)).exit_code == 0
            assert after(events, "reload") == {}
    assert call("report").exit_code == 0


def test_a_page_that_cannot_be_made_loads_itself_again(place: Place) -> None:
    modules = place.folder / "modules"
    modules.mkdir()
    lines = ["from batchswap.watch.live_pages import LivePages", "LivePages.page = lambda self: int('no number')", ""]
    (modules / "sitecustomize.py").write_text("\n".join(lines))
    with watching(place.folder, modules=modules) as server:
        status, _, page = server.ask("/")
    assert (status, b'http-equiv="refresh"' in page, b"internal error" in page) == (500, True, True)
    assert "ValueError" in (place.folder / "watch.log").read_text()


def test_orders_review_results(night: Watched) -> None:
    token = night.token()
    assert night.order(token, action="reject", names=["spring/r0"]) == (200, "1 result rejected")
    assert Path("results/rejected/spring/r0.mp4").exists()
    assert night.order(token, action="reset", names=["spring/r0"]) == (200, "1 result no longer judged")
    assert night.order(token, action="accept", names=["spring/r0", "spring/r1"]) == (200, "2 results accepted")
    price = (200, "another attempt will probably cost 1 credit")
    assert night.order(token, action="price", names=["spring/r2"]) == price
    assert state("r2") == "done", "nothing is queued before the user agrees"
    assert night.order(token, action="redo", names=["spring/r2"])[0] == 200
    assert state("r2") == "queued"
    assert night.order(token, action="cancel", names=["spring/r2"]) == (200, "1 task cancelled")
    assert night.order(token, action="retry", names=["spring/r2"])[1].startswith("1 task queued again")
    refused = night.order(token, action="accept", names=["spring/r2"])
    assert refused == (422, "spring/r2 is queued: there is no result yet; the next run submits it")


def test_a_run_in_progress_is_a_sentence_on_the_page(night: Watched) -> None:
    token = night.token()
    with hold(Path("batchswap.db"), wait=False):
        for order in ({"action": "redo"}, {"action": "cancel"}, {"action": "retry"}, {"action": "give-up"}):
            status, words = night.order(token, **order, names=["spring/r2"])
            assert (status, "a run is using batchswap.db" in words) == (409, True)
        assert night.order(token, action="reject", names=["spring/r2"])[0] == 200, "needs no lock"
    assert state("r2") == "done"


def test_orders_settle_uncertain_tasks_without_a_task_id(forgetful: Running, place: Place) -> None:
    name = place.manifest("lost.csv", 1)
    assert work(name).exit_code == 4
    with watching(place.folder) as server:
        assert "lost/r0 is queued again" in server.order(action="not-accepted", names=["lost/r0"])[1]
        assert state("r0") == "queued"
        assert work(name).exit_code == 4
        assert "lost/r0 is given up" in server.order(action="give-up", names=["lost/r0"])[1]
    assert state("r0") == "failed"


def test_many_tasks_come_in_pieces(tmp_path: Path) -> None:
    Night(tmp_path, 2_100, strips=False).write()
    with watching(tmp_path) as server:
        _, headers, page = server.ask("/")
        names = json.loads(re.search(rb'"pieces":(\[.*?\])', page)[1])  # type: ignore[index]
        assert (len(names), "'strict-dynamic'" in headers["content-security-policy"]) == (2, True)
        found = []
        for number, name in enumerate(names):
            status, headers, script = server.ask(f"/{name}")
            assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
            text = script.decode().removeprefix(f"batchswap.piece({number}, ").removesuffix(");\n")
            found += [row[0] for row in json.loads(text)["rows"]]
        assert found == list(range(1, 2_101))


def sockets(server: Watched) -> int:
    found = 0
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found += str(each.readlink()).startswith("socket:")
    return found


def test_a_page_that_is_closed_leaves_nothing_behind(night: Watched) -> None:
    with night.events() as first, night.events() as second, night.events() as third:
        for events in (first, second, third):
            assert next(events)[0] == "hello"
        opened = sockets(night)
    wait_until(lambda: sockets(night) <= opened - 3, "the sockets are closed")


async def test_a_page_that_does_not_read_is_disconnected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BEHIND", 2)
    ledger = Night(tmp_path, 3).write()
    pages = LivePages(ledger, tmp_path)
    following = Feed(pages)
    since = pages.update(None).mark
    slow = following.follow(since)
    assert await anext(slow) == b":\n\n"
    for number in range(4):
        following._send(b"%d" % number)
    assert following.count == 0
    assert [text async for text in slow] == []
    pages.close()


def test_a_ledger_that_cannot_be_read_for_a_moment_is_a_sentence(tmp_path: Path) -> None:
    """The page shows it and loads itself again, which it does not for an internal error."""
    pages = LivePages(tmp_path / ("x" * 300), tmp_path)
    for read in (pages.page, pages.sections):
        with pytest.raises(LedgerError, match=r"cannot be read \(File name too long\)"):
            read()


def test_the_time_line_is_drawn_when_there_is_one_and_when_its_run_ends(tmp_path: Path) -> None:
    ledger = Night(tmp_path, 3).write()
    kept = TimeLineCache()
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("update runs set ended_at = null")
        db.execute("create temp table saved as select * from traffic")
        db.execute("delete from traffic")
        assert kept.draw(db, [1], 1) is None
        db.execute("insert into traffic select * from saved")
        first = kept.draw(db, [1], 1)
        assert first is not None
        db.execute("insert into events(at, task_id, event) values(1.0, 1, 'named')")
        assert kept.draw(db, [1], 1) is first, "once a minute is enough"
        db.execute("update runs set ended_at = started_at + 60")
        assert kept.draw(db, [1], 1) is not first


@pytest.mark.parametrize(
    "text", ["", "1", "1-2-3", "1-2-3-4-5", "a-b-c-d", "1--2-3", "-1-2-3-4", f"{'9' * 30}-1-1-1", "１-1-1-1"]
)
def test_only_marks_are_parsed(text: str) -> None:
    assert parse_mark(text) is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_at_once_with_open_pages(night: Watched, number: signal.Signals, code: int) -> None:
    with night.events() as events:
        next(events)
        night.process.send_signal(number)
        assert night.process.wait(timeout=30) == code
    assert "Traceback" not in (night.folder / "watch.log").read_text()


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "batchswap", "watch", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_what_cannot_be_served_is_a_sentence(shop: Place) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        refused = run(shop.folder, "--port", port)
    words = f"batchswap: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --host or --port\n"
    assert (refused.returncode, refused.stderr) == (2, words)
    refused = run(shop.folder, "--host", "nosuch.invalid")
    assert (refused.returncode, "cannot listen on nosuch.invalid" in refused.stderr) == (2, True)
    Path("other.db").write_text("no ledger, but a text that is long enough for the first page of a database" * 99)
    refused = run(shop.folder, "--db", "other.db")
    assert (refused.returncode, "is not a batchswap ledger" in refused.stderr) == (2, True)


def test_a_ledger_that_another_program_changes_is_trouble_and_no_crash(night: Watched) -> None:
    since = mark_now()
    with night.events(since) as events:
        next(events)
        change("alter table deliveries rename to gone")
        change("insert into events(at, task_id, event) values(1.0, 1, 'named')")
        assert "was changed by another program" in after(events, "trouble")["words"]
    status, _, page = night.ask("/")
    assert (status, b"was changed by another program" in page, b'http-equiv="refresh"' in page) == (503, True, True)


def test_a_page_that_is_opened_while_a_run_creates_the_ledger_comes_later(shop: Place) -> None:
    assert work(shop.manifest("spring.csv", 1)).exit_code == 0
    with watching(shop.folder) as server, hold(Path("batchswap.db"), wait=False):
        change("pragma user_version = 3")
        status, _, page = server.ask("/")
        assert (status, b'http-equiv="refresh"' in page) == (503, True)
        change(f"pragma user_version = {VERSION}")
        assert server.ask("/")[0] == 200
