"""The metrics of a ledger agree with it, and both parsers of the official client read them, whatever is in it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchswap import __version__
from batchswap.ledger import deliveries, queries
from batchswap.ledger.file import connection
from batchswap.ledger.runs import traffic
from batchswap.ledger.runs.traffic import Total
from batchswap.metrics.definitions import METRICS
from batchswap.metrics.exposition import scrape
from batchswap.metrics.samples import MOST_BATCHES
from batchswap.operations.ledger_access import reading
from batchswap.states import State
from tests.browser.nights import START, Night
from tests.metrics.parsed import parse, scraped

HOSTILE = (
    'a"b', "a\\", "a\\nb", "a\nb", "\n", "a\r\nb", '{x="y"} 1', "# EOF", "a\0b", "\x1b[31m", "ü" * 500, "\u2028",
    "\u202e", "batch,state", " spaced ", "ak_" + "k" * 32, "https://cdn.example.com/a?token=hush",
)  # fmt: skip


def write(ledger: Path, sql: str, *values: object) -> None:
    with closing(connection.connect(ledger, write=True)) as db:
        db.execute(sql, values)


def test_where_there_is_no_ledger_only_what_is_known_without_it_is_shown(tmp_path: Path) -> None:
    found = scraped(tmp_path / "none.db")
    assert found.lasting == {("batchswap_build_info", (("version", __version__),)): 1.0}
    found = parse(scrape(tmp_path / "none.db", exit_code=5)[0])
    assert found.get("last_exit_code") == 5.0
    assert found.ledgers != parse(scrape(tmp_path / "other.db")[0]).ledgers
    assert not [*tmp_path.iterdir()]


def test_an_empty_ledger(tmp_path: Path) -> None:
    connection.create(tmp_path / "b.db")
    found = scraped(tmp_path / "b.db")
    assert found.get("last_success_timestamp_seconds") == 0.0
    assert (found.get("run_in_progress"), found.get("needs_you"), found.get("signed_results")) == (0.0, 0.0, 0.0)
    assert found.get("last_exit_code") is None
    assert found.get("credits", kind="spent") == 0.0
    assert found.get("credits", kind="balance") is None


def test_the_metrics_of_a_night_agree_with_its_ledger(tmp_path: Path) -> None:
    ledger = Night(tmp_path, 500, batches=("spring", "summer"), runs=2).write()
    write(ledger, "insert into totals values('requests', 'poll', 'ok', 812), ('wait-seconds', '', '', 33.5)")
    found = scraped(ledger)
    assert found.names == {each.name for each in METRICS if each.name != "batchswap_request_seconds_total"}
    with reading(ledger) as db:
        counts, money = queries.counts(db), queries.credits_of(db)
        for batch in ("spring", "summer"):
            own = queries.counts(db, batch)
            assert {state: found.get("tasks", batch=batch, state=state) for state in State} == own
        assert found.get("needs_you") == deliveries.needing(db, None, counts) > 0
        assert found.get("signed_results") == deliveries.count_signed(db) > 0
    assert {state: found.sum("tasks", state=state) for state in State} == counts
    assert found.get("credits", kind="spent") == pytest.approx(money.spent)
    assert found.get("credits", kind="reserved") == money.reserved > 0
    assert found.get("credits", kind="balance") == 4321.0
    assert found.get("requests_total", kind="poll", outcome="ok") == 812.0
    assert found.get("api_wait_seconds_total") == 33.5
    assert START + 86400 <= (found.get("oldest_uncertain_timestamp_seconds") or 0) < START + 2 * 86400
    assert found.get("last_exit_code") == 4.0


def test_no_label_has_anything_but_batches_and_words_of_this_program(tmp_path: Path) -> None:
    ledger = Night(tmp_path, 300).write()
    found = scraped(ledger)
    allowed = {"spring", __version__, *map(str, State), "spent", "reserved", "balance", "exceeded"}
    assert found.labels <= allowed | {"poll", "ok"}
    (own,) = found.ledgers
    assert len(own) == 8
    assert int(own, 16)


def test_the_last_success_is_the_last_run_with_exit_code_0(tmp_path: Path) -> None:
    connection.create(tmp_path / "b.db")
    for started, ended, code in ((1.0, 2.0, 0), (3.0, 4.0, 0), (5.0, 6.0, 7), (7.0, None, None)):
        sql = "insert into runs(started_at, ended_at, pid, version, provider, account, exit_code)"
        write(tmp_path / "b.db", f"{sql} values(?, ?, 1, '', '', '', ?)", started, ended, code)
    found = scraped(tmp_path / "b.db")
    names = ("last_success_timestamp_seconds", "last_run_end_timestamp_seconds", "last_run_start_timestamp_seconds")
    assert [found.get(name) for name in names] == [4.0, 6.0, 7.0]
    assert (found.get("last_exit_code"), found.get("run_in_progress")) == (7.0, 0.0)
    assert parse(scrape(tmp_path / "b.db", exit_code=2)[0]).get("last_exit_code") == 2.0


def test_hostile_names_of_batches_are_read_back_as_one_printable_line(tmp_path: Path) -> None:
    ledger = Night(tmp_path, 60, batches=HOSTILE).write()
    text = scrape(ledger)[0]
    assert b"hush" not in text
    assert b"k" * 32 not in text
    assert b"\0" not in text
    assert b"\r" not in text
    found = scraped(ledger)
    assert {'a"b', "a\\", "a\\nb", "a b", "# EOF", '{x="y"} 1'} <= found.labels
    assert max(map(len, found.labels)) <= 120
    assert found.sum("tasks") == 60.0


def test_only_the_newest_batches_have_series_of_their_own(tmp_path: Path) -> None:
    names = tuple(f"b{n:03d}" for n in range(MOST_BATCHES + 50))
    found = scraped(Night(tmp_path, 500, batches=names).write())
    assert len({label for label in found.labels if label.startswith("b") and label[1:].isdecimal()}) == MOST_BATCHES
    assert found.get("tasks", batch="b049", state="done") is None
    assert found.get("tasks", batch="b050", state="done") is not None
    assert found.sum("tasks", batch="") == 100.0
    assert found.sum("tasks") == 500.0


def test_totals_only_grow(tmp_path: Path) -> None:
    connection.create(tmp_path / "b.db")
    with closing(sqlite3.connect(tmp_path / "b.db", isolation_level=None)) as db:
        for _ in range(2):
            traffic.add_totals(db, {Total("requests", "poll", "ok"): 2, Total("wait-seconds"): 0.25})
        assert traffic.totals(db) == {Total("requests", "poll", "ok"): 4.0, Total("wait-seconds"): 0.5}
    assert scraped(tmp_path / "b.db").get("requests_total", kind="poll", outcome="ok") == 4.0
