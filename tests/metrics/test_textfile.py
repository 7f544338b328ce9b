"""The file is replaced as a whole, and its last content is that of the end of the run."""

import threading
from pathlib import Path

from batchswap.ledger.file import connection
from batchswap.metrics.textfile import MetricsFile, replace
from tests.metrics.parsed import parse


def test_a_write_that_comes_late_does_not_replace_the_last_one(tmp_path: Path) -> None:
    connection.create(tmp_path / "b.db")
    file = MetricsFile(tmp_path / "b.prom", tmp_path / "b.db")
    file.check()
    file._write(None)
    assert parse(file.path.read_bytes()).get("last_exit_code") is None
    file.finish(5)
    file._write(None)
    assert parse(file.path.read_bytes()).get("last_exit_code") == 5.0


def test_a_reader_never_finds_a_part_of_it(tmp_path: Path) -> None:
    path, texts, ended = tmp_path / "b.prom", {b"a" * 300_000, b"b" * 50_000}, threading.Event()
    replace(path, b"a" * 300_000)
    found: set[bytes] = set()

    def read() -> None:
        while not ended.is_set():
            found.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(100):
            for text in texts:
                replace(path, text)
    finally:
        ended.set()
        reader.join()
    assert found <= texts
    assert [*tmp_path.iterdir()] == [path]
