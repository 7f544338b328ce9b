"""Ledgers of earlier versions: each step brings what was there along."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from batchswap.errors import LedgerError
from batchswap.ledger import files
from batchswap.ledger.constants import APPLICATION_ID, VERSION
from batchswap.ledger.schema import steps


def older(path: Path, version: int, stop_before: str) -> None:
    """A ledger as an earlier version left it, with a batch."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        steps.apply(Database(raw, execute_plugins=False), stop_before=stop_before)
        raw.execute(f"pragma application_id = {APPLICATION_ID}")
        raw.execute(f"pragma user_version = {version}")
        raw.execute("insert into batches(name) values('spring')")


def test_a_ledger_of_version_2_gets_its_detections_and_keeps_its_batches(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    older(path, 2, "m003_detections_and_files")
    with pytest.raises(LedgerError, match="is an older ledger"):
        files.connect(path, write=False)
    files.create(path)
    with closing(files.connect(path, write=False)) as db:
        assert db.execute("pragma user_version").fetchone() == (VERSION,)
        assert db.execute("select name from batches").fetchall() == [("spring",)]
        assert db.execute("select count(*) from detections").fetchone() == (0,)
        assert db.execute("select count(*) from files").fetchone() == (0,)
