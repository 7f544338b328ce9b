"""Ledgers of earlier versions: each step keeps the existing data."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from batchswap.errors import LedgerError, LedgerOutdated
from batchswap.ledger import budgets, deliveries, page_queries, queries, releases, transitions
from batchswap.ledger.enrolment import duplicates
from batchswap.ledger.file import connection
from batchswap.ledger.file.connection import APPLICATION_ID, VERSION
from batchswap.ledger.file.lock import hold
from batchswap.ledger.runs import ticks, traffic
from batchswap.ledger.schema import steps
from batchswap.operations.ledger_access import reading
from batchswap.states import State
from batchswap.tasks import Model, Task


def older(path: Path, version: int, stop_before: str) -> None:
    """Return a ledger of an earlier version with a batch."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        steps.apply(Database(raw, execute_plugins=False), stop_before=stop_before)
        raw.execute(f"pragma application_id = {APPLICATION_ID}")
        raw.execute(f"pragma user_version = {version}")
        raw.execute("insert into batches(name) values('spring')")


def with_an_attempt(path: Path, reserved: float) -> None:
    """Add an attempt that succeeded in seven seconds, without a price from the API."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("insert into sources(batch_id, path, folder) values(1, 'b.csv', '/')")
        raw.execute(
            "insert into tasks(id, batch_id, source_id, key, line, position, generation, model, target, face, digest,"
            " output) values(1, 1, 1, 't', 2, 0, 0, 'video-face-swap', 'v', 'f', 'd', 'o')"
        )
        raw.execute("insert into runs(started_at, pid, version, provider, account) values(0.0, 1, '', '', '')")
        raw.execute(
            "insert into attempts(task_id, batch_id, run_id, number, ref, state, day, reserved, submitted_at, took,"
            " account) values(1, 1, 1, 1, 'r', 'succeeded', '', ?, 0.0, 7.0, '')",
            (reserved,),
        )


@pytest.mark.parametrize("reserved", [0.0, 2.0])
def test_a_ledger_of_version_4_counts_attempts_that_never_got_a_price(tmp_path: Path, reserved: float) -> None:
    path = tmp_path / "b.db"
    older(path, 4, "m005_ended_without_any_price")
    with_an_attempt(path, reserved)
    connection.create(path)
    with closing(connection.connect(path, write=True)) as db:
        assert queries.credits_of(db) == queries.Credits(assumed=reserved, unpriced=1)
        db.execute("update attempts set charged = 3.0")
        assert queries.credits_of(db) == queries.Credits(spent=3.0)


def test_a_ledger_of_version_3_keeps_its_history_without_lengths(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 3, "m004_length_of_targets")
    with_an_attempt(path, reserved=1.0)
    connection.create(path)
    with closing(connection.connect(path, write=False)) as db:
        assert queries.took(db) == [queries.Past(Model.VIDEO, 7.0, None)]


def test_a_ledger_of_version_2_gets_its_detections_and_keeps_its_batches(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 2, "m003_detections_and_files")
    with pytest.raises(LedgerError, match="is an older ledger"):
        connection.connect(path, write=False)
    connection.create(path)
    with closing(connection.connect(path, write=False)) as db:
        assert db.execute("pragma user_version").fetchone() == (VERSION,)
        assert db.execute("select name from batches").fetchall() == [("spring",)]
        assert db.execute("select count(*) from detections").fetchone() == (0,)
        assert db.execute("select count(*) from files").fetchone() == (0,)


def test_a_ledger_of_version_5_knows_duplicates_of_its_done_tasks(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 5, "m006_duplicates_and_places")
    with_an_attempt(path, reserved=1.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("update tasks set state = 'done', attempts = 1, paid = 1, generation = -1")
        raw.execute("update attempts set account = 'x'")
    connection.create(path)
    with closing(connection.connect(path, write=True)) as db:
        other = duplicates.Matches(db, "x", lambda _: "").of(row_like("d"))
        assert other is not None
        assert other.key == "t"
        assert duplicates.Matches(db, "another", lambda _: "").of(row_like("d")) is None


def row_like(digest: str) -> Task:
    """Return a queued row of another batch, whose inputs are URLs."""
    url = "https://cdn.example.com/v.mp4"
    return Task(0, "final", "t", State.QUEUED, Model.VIDEO, url, url, "o.mp4", "/", digest)


def test_a_ledger_of_version_8_is_updated_by_a_command_that_only_reads(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 8, "m009_deliveries")
    with_an_attempt(path, reserved=1.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("update tasks set state = 'done'")
    with reading(path) as db:
        assert db.execute("pragma user_version").fetchone() == (VERSION,)
        assert deliveries.find(db, 1) is None
        assert deliveries.qualities(db, done=1)["unknown"] == 1


def test_a_ledger_of_version_8_is_left_alone_while_a_run_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 8, "m009_deliveries")
    with hold(path, wait=False), pytest.raises(LedgerOutdated, match="try again later"), reading(path):
        pass
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("pragma user_version").fetchone() == (8,)


def test_a_ledger_of_version_9_gets_its_releases_and_keeps_the_waiting_edits(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 9, "m010_releases")
    with_an_attempt(path, reserved=1.0)
    with reading(path) as db:
        assert releases.withdrawn(db) == {}
        assert releases.uses(db) == [releases.ReleaseUse("", 1, 0, 0)]


def test_a_ledger_of_version_11_counts_its_requests_without_their_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 11, "m012_totals")
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("insert into traffic values(1, 5, 'poll', 3), (1, 6, 'poll', 1), (2, 9, 'early', 2)")
    with reading(path) as db:
        assert traffic.totals(db) == {traffic.Total("requests", "poll", "unrecorded"): 4.0}


def test_a_ledger_of_version_12_keeps_its_budgets_and_its_running_tasks(tmp_path: Path) -> None:
    """Each run is a series by itself, and a tick begins a new one."""
    path = tmp_path / "b.db"
    older(path, 12, "m013_ticks")
    with_an_attempt(path, reserved=2.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("update runs set budget = 5.0, summary = ?", (json.dumps({"batch": ["spring"]}),))
        raw.execute("update tasks set state = 'running', attempts = 1")
        raw.execute("update attempts set state = 'accepted', remote_id = 'x', reserved = 2.0")
    connection.create(path)
    with closing(connection.connect(path, write=True)) as db:
        assert budgets.committed(db, 1) == 2.0
        assert page_queries.batches_of(db, 1) == ["spring"]
        assert ticks.last_ending(db, ["spring"]) is None
        tick = transitions.begin_run(db, 1.0, provider="crun", account="", mode="tick", batches=("spring",))
        assert [(each.series, each.attempt.remote_id) for each in queries.unfinished(db, State.RUNNING)] == [(1, "x")]
        assert ticks.series_of(db, tick.run_id or 0) == tick.run_id == 2
        assert budgets.committed(db, 2) == 0.0
        assert ticks.poll_marks(db) == {}
