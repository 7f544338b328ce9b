"""Results without a swap: what `run`, `status` and their JSON show, until they are reviewed."""

import importlib.util
import json
import sqlite3
from contextlib import closing
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from batchswap import delivery
from batchswap.ledger import deliveries
from batchswap.ledger.deliveries import Delivered
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.states import Quality
from tests.cli.conftest import Place, call, work
from tests.ledger.test_migrations import older, with_an_attempt


@pytest.fixture
def spring(shop: Place) -> str:
    """A finished batch, in which one result is unchanged and one is swapped in a part of its frames."""
    name = shop.manifest("spring.csv", 3)
    assert work(name).exit_code == 0
    found = {"r0": (Quality.UNCHANGED, 0.0), "r1": (Quality.PARTLY, 0.62)}
    with closing(connection.connect(Path("batchswap.db"), write=True)) as db:
        for key, (quality, share) in found.items():
            task_id, sha256 = db.execute("select id, sha256 from tasks where key = ?", (key,)).fetchone()
            deliveries.record(db, Stamp(1.0, None), task_id, Delivered(sha256, quality, share, share))
    return name


def test_the_last_line_counts_what_needs_you_and_names_the_next_command(spring: str) -> None:
    again = work(spring)
    assert again.exit_code == 0
    last = again.stderr.splitlines()[-1]
    assert ": 3 done, needs you: 2, " in last
    assert last.endswith("; next: batchswap status, then review")


def test_require_swap_ends_with_exit_3_until_every_result_is_reviewed(
    spring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BATCHSWAP_NO_SCORE")
    said = json.loads((work(spring, "--require-swap", "--json")).stdout)
    assert (said["exit_code"], said["reason"]) == (3, "2 without a swap in all frames (--require-swap)")
    assert (said["needs_you"], said["quality"]["unchanged"], said["quality"]["partly"]) == (2, 1, 1)
    assert call("review", "--accept", "r0", "r1").exit_code == 0
    assert work(spring, "--require-swap").exit_code == 0


def test_require_swap_needs_the_examination(spring: str) -> None:
    assert "--require-swap needs results to be examined: leave out --no-score" in work(spring, "--require-swap").stderr


def test_require_swap_without_the_extra_is_refused_before_anything_is_paid(
    shop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "face_recognition_models" else real(name, package)

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.delenv("BATCHSWAP_NO_SCORE")
    assert not delivery.is_installed()
    refused = work(shop.manifest("spring.csv", 1), "--require-swap")
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert "pip install 'batchswap[proof]'" in refused.stderr
    without = work("spring.csv", "--json")
    assert json.loads(without.stdout)["quality"]["unknown"] == 1


def test_status_lists_doubtful_results_and_what_to_do(spring: str) -> None:
    lines = call("status").stdout.splitlines()
    start = lines.index("2 results without a swap in all frames. To see them: batchswap report")
    assert lines[start + 1 : start + 4] == [
        "  spring/r0: unchanged",
        "  spring/r1: partly (62 %)",
        "  To decide: batchswap review --accept KEY, --reject KEY, or --redo KEY, which costs credits again",
    ]
    said = json.loads(call("status", "--json").stdout)
    assert (said["needs_you"], said["quality"]["partly"], said["batches"][0]["needs_you"]) == (2, 1, 2)
    assert [each["name"] for each in said["needs_a_person"]["doubtful"]] == ["spring/r0", "spring/r1"]


def test_status_shows_the_first_ten_doubtful_results(shop: Place) -> None:
    assert work(shop.manifest("many.csv", 12)).exit_code == 0
    with closing(sqlite3.connect("batchswap.db")) as db, db:
        db.execute(
            "insert into deliveries(task_id, batch_id, sha256, quality, evidence, delivered_at)"
            " select id, batch_id, sha256, 'no_face', x'7b7d', 1.0 from tasks"
        )
    said = call("status").stdout
    assert (
        "  many/r9: no face\n  and 2 more: batchswap tasks --quality partly --quality unchanged --quality no_face"
        in said
    )
    assert "--review none\n" in said


def test_a_ledger_of_the_version_before_opens_with_unknown_quality(place: Place) -> None:
    older(Path("batchswap.db"), 8, "m009_deliveries")
    with_an_attempt(Path("batchswap.db"), reserved=1.0)
    with closing(sqlite3.connect("batchswap.db")) as db, db:
        db.execute("update tasks set state = 'done'")
    said = json.loads(call("status", "--json").stdout)
    assert said["quality"] == {"swapped": 0, "partly": 0, "unchanged": 0, "no_face": 0, "unknown": 1}
    assert said["needs_you"] == 0
    assert call("report").exit_code == 0
    assert json.loads(call("tasks", "--format", "json").stdout)[0]["quality"] == "unknown"
