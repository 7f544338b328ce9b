"""Real processes that examine results: they may crash, hang and fail, and only their own result is unknown."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.delivery.examiner import NICENESS, Examiner
from batchswap.delivery.inputs import InputFiles
from batchswap.ledger import transitions
from batchswap.ledger.deliveries import Delivered
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.enrolment.input_files import Input, hash_file
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk
from batchswap.states import Quality
from batchswap.tasks import Model, Row, content_digest
from tests.delivery.works import work
from tests.waits import first_line, wait_until

ROOT = Path(__file__).parents[2]


def prepared(folder: Path) -> Path:
    """Return a ledger with a task whose inputs are files, recorded as at its submit."""
    ledger = folder / "b.db"
    connection.create(ledger)
    row = Row("t", content_digest(Model.VIDEO, "v.mp4", "f.png"), Model.VIDEO, "v.mp4", "f.png", "t.mp4", 2)
    for name in ("v.mp4", "f.png"):
        (folder / name).write_text(name)
    with closing(connection.connect(ledger, write=True)) as db:
        enrol(db, Stamp(1.0, None), [Chunk("b", str(folder), "b.csv", [row])], {})
        found = [(folder / name, (folder / name).stat()) for name in ("v.mp4", "f.png")]
        used = [Input(str(path), *input_files.state_of(at), hash_file(path)) for path, at in found]
        input_files.record(db, transitions.find_task(db, 1), used)
    return ledger


def examined(folder: Path, *words: str, limit: float = 30.0) -> list[Delivered]:
    async def all_of() -> list[Delivered]:
        examiner = Examiner(work, InputFiles(allow_private=True, min_free=0), folder / "pictures", limit)
        with closing(connection.connect(ledger, write=False)) as db:
            item = transitions.find_task(db, 1)
            try:
                return list(
                    await asyncio.gather(*(examiner.examine(db, item, part(word), "ab" * 32) for word in words))
                )
            finally:
                await examiner.close()

    def part(word: str) -> Path:
        path = folder / f".{word}.part"
        path.write_text(word)
        return path

    ledger = folder / "b.db" if (folder / "b.db").exists() else prepared(folder)
    return asyncio.run(all_of())


def test_a_result_is_examined_in_another_process_that_gives_way_to_this_one(tmp_path: Path) -> None:
    (found,) = examined(tmp_path, "fine")
    assert (found.quality, found.sha256) == (Quality.SWAPPED, "ab" * 32)
    assert found.facts["pid"] != os.getpid()
    assert found.facts["nice"] == os.nice(0) + NICENESS
    assert found.facts["target"] == "v.mp4"
    assert found.facts["faces"] == ["f.png"]
    assert "missing" not in found.facts


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("crash", "the worker process died twice while processing it"),
        ("fail", "the engine failed: ValueError"),
    ],
)
def test_a_bad_file_makes_only_its_own_quality_unknown(tmp_path: Path, word: str, reason: str) -> None:
    bad, good = examined(tmp_path, word, "fine")
    assert (bad.quality, bad.facts["reason"]) == (Quality.UNKNOWN, reason)
    assert good.quality is Quality.SWAPPED


def test_an_examination_that_never_ends_is_given_up(tmp_path: Path) -> None:
    (found,) = examined(tmp_path, "hang", limit=1.0)
    assert found.facts["reason"] == "processing took longer than 1 s"


def test_a_machine_that_starts_no_process_makes_the_quality_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    (found,) = examined(tmp_path, "fine")
    assert (found.quality, found.facts["reason"]) == (
        Quality.UNKNOWN,
        "no worker process could be used: No such file or directory",
    )


def test_a_killed_process_is_tried_once_more(tmp_path: Path) -> None:
    assert examined(tmp_path, "crash once")[0].quality is Quality.SWAPPED


def test_an_input_that_has_changed_or_is_gone_is_not_compared(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / "v.mp4").write_text("o.mp4")
    (tmp_path / "f.png").unlink()
    (found,) = examined(tmp_path, "fine")
    assert (found.facts["target"], found.facts["faces"]) == (None, [None])
    assert found.facts["missing"] == {
        "target": "it has changed since the task was submitted",
        "face": "No such file or directory",
    }


def test_what_is_missing_before_and_in_the_examination_is_in_the_evidence(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / "f.png").unlink()
    (found,) = examined(tmp_path, "damaged")
    assert found.facts["missing"] == {"target": "the target is damaged", "face": "No such file or directory"}


def test_an_input_whose_time_alone_has_changed_is_still_compared(tmp_path: Path) -> None:
    prepared(tmp_path)
    os.utime(tmp_path / "v.mp4", (1.0, 1.0))
    assert examined(tmp_path, "fine")[0].facts["target"] == "v.mp4"


def test_the_strip_has_the_same_name_for_the_same_result(tmp_path: Path) -> None:
    one, two = examined(tmp_path, "drawn", "drawn")
    assert one.strip == two.strip == f"ab/{'ab' * 8}-1.webp"
    assert (tmp_path / "pictures" / one.strip).read_bytes() == b"strip"


LEFT_ALONE = """
import asyncio, sys
from tests.delivery.works import pid
from batchswap.workers.worker_pool import Workers

async def main() -> None:
    print(await Workers(1).run(pid, limit=30.0), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_no_process_outlives_a_killed_run(tmp_path: Path) -> None:
    """The script has no guard for its main module, as scripts that use the Python API."""
    script = tmp_path / "alone.py"
    script.write_text(LEFT_ALONE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        worker = int(first_line(process.stdout))
        assert is_alive(worker)
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_alive(worker), "the end of the worker process")


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
