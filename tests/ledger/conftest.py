"""An open ledger with a batch of three tasks and a run."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.ledger import transitions
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.file import connection as files
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk
from tests.loop.world import rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    files.create(tmp_path / "b.db")
    return tmp_path / "b.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(files.connect(path, write=True)) as connection:
        connection.execute("pragma synchronous = off")
        enrol(connection, Stamp(1.0, None), [Chunk("b", "/", "b.csv", rows(3))], {})
        yield connection


@pytest.fixture
def stamp(db: sqlite3.Connection) -> Stamp:
    return transitions.begin_run(db, 1_790_000_000.0, provider="crun", account="x")
