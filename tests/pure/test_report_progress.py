"""The display of a run, and its last line."""

from pathlib import Path

import msgspec
import pytest

from batchswap.errors import Exit
from batchswap.report.progress import Progress, one_line
from batchswap.report.run_result import RunRemains, last_line
from batchswap.runner.background import RunView
from batchswap.runner.summary import KINDS, Summary
from batchswap.settings import Settings
from batchswap.states import State


def view(**counts: int) -> RunView:
    every = dict.fromkeys(map(str, State), 0) | counts
    return RunView(counts=every, spent=2.0, reserved=1.0, requests=9, pace="20/10s", queued=every["queued"])


def test_the_time_left_is_shown_when_it_is_known() -> None:
    progress = Progress(view(done=10, queued=90), 100.0)
    assert progress.at(view(done=12, queued=88), 110.0).left is None
    shown = progress.at(view(done=20, running=5, failed=10, queued=65, cancelled=3), 140.0)
    assert (shown.finished, shown.total, shown.in_flight, shown.left) == (30, 100, 5, 140.0)
    assert one_line(shown) == (
        "30 of 100 finished: 20 done · 5 in flight · 10 failed · 0 uncertain · 65 queued;"
        " 2 credits spent · 1 reserved · 9 requests at 20/10s; 40 s, about 2 min 20 s left"
    )


def test_rows_that_this_run_leaves_out_are_counted_separately() -> None:
    left = msgspec.structs.replace(view(done=10, running=10, queued=30), queued=0, left_out=30)
    shown = Progress(view(queued=50), 0.0).at(left, 10.0)
    assert (shown.total, shown.left) == (20, 10.0)
    assert "· 0 queued · 30 not in this run; " in one_line(shown)


def test_nothing_is_left_at_the_end() -> None:
    progress = Progress(view(queued=5), 0.0)
    assert one_line(progress.at(view(done=5), 10.0)).endswith("; 10 s")


def summary(code: Exit, reason: str, requests: int = 1, now: float = 400.0, **counts: int) -> Summary:
    return Summary(
        exit_code=code,
        reason=reason,
        batch=["spring"],
        counts=dict.fromkeys(map(str, State), 0) | counts,
        credits={"spent": 400.0, "reserved": 0.0, "balance": None, "exceeded": 0.0},
        requests=dict.fromkeys(KINDS, requests),
        seconds=201.0,
        spent_now=now,
    )


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (summary(Exit.DONE, "all done", done=200), "done: 200 done, 400 credits, 3 min 21 s; results in results/"),
        (
            summary(Exit.FAILED, "1 failed", failed=1),
            ("not all done: 1 failed, 400 credits, 3 min 21 s; next: batchswap status, then retry and run"),
        ),
        (
            summary(Exit.UNCERTAIN, "1 uncertain: a person must decide", uncertain=1),
            ("needs your decision: 1 uncertain, 400 credits, 3 min 21 s; next: batchswap status, then resolve and run"),
        ),
        (
            summary(Exit.DEADLINE, "the deadline has come", queued=3),
            "the deadline has come: 3 queued, 400 credits, 3 min 21 s; to resume: batchswap run 'a b.csv'",
        ),
    ],
)
def test_last_lines(found: Summary, line: str) -> None:
    assert last_line(found, Settings(), "batchswap run 'a b.csv'") == line


@pytest.mark.parametrize("size", [1, 40, 300])
def test_a_last_line_fits_two_lines_of_a_terminal(size: int) -> None:
    """However long paths, reasons and commands are. The counts are never cut, and what is cut first can be guessed."""
    long = "x" * size
    found = summary(Exit.UNCERTAIN, f"storage: {long}; 1 uncertain: {long}", done=2000, failed=3, uncertain=1, queued=9)
    settings = Settings(out=Path(long), db=Path(f"{long}.db"))
    line = last_line(found, settings, f"batchswap run {long}")
    assert len(line) <= 160
    assert "2,000 done, 3 failed, 1 uncertain, 9 queued, 400 credits, 3 min 21 s" in line
    assert (f"next: batchswap status --db {long}.db, then resolve, retry and run" in line) == (size == 1)


def test_the_next_commands_come_in_the_order_of_typing() -> None:
    found = summary(Exit.UNCERTAIN, "3 failed; 1 uncertain: decide", done=2, failed=3, uncertain=1, queued=4)
    line = last_line(found, Settings(), "batchswap run b.csv")
    assert line.endswith("; results in results/; next: batchswap status, then resolve, retry and run")


def test_a_run_that_moved_nothing_and_asked_nothing_had_nothing_to_do() -> None:
    found = summary(Exit.DONE, "all done", requests=0, done=2)
    assert last_line(found, Settings(), "", RunRemains(has_moved=False)).startswith(
        "nothing to do: 2 done, 400 credits"
    )
    assert last_line(found, Settings(), "", RunRemains(has_moved=True)).startswith("done: 2 done")


def test_the_last_line_names_the_folder_of_the_results() -> None:
    found = summary(Exit.DONE, "all done", done=2)
    said = last_line(found, Settings(out=Path("elsewhere")), "", RunRemains(has_results=False, is_elsewhere=True))
    assert said.endswith("; results are not in elsewhere/ but where an earlier run saved them")


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        (0.0, "unknown credits, and 5 attempts without a price, 3 min 21 s"),
        (3.0, "3 credits, and 5 attempts without a price, 3 min 21 s"),
    ],
)
def test_the_price_of_an_unpriced_attempt_is_unknown(spent: float, words: str) -> None:
    found = summary(Exit.DONE, "all done", now=spent, done=5)
    money = {"spent": spent, "reserved": 0.0, "balance": None, "exceeded": 0.0}
    found = msgspec.structs.replace(found, credits=money, unpriced_attempts=5)
    assert words in last_line(found, Settings(), "")
    assert found.to_json()["unpriced_attempts"] == 5, "or what was spent would pass for known"
    assert "unpriced_attempts" not in msgspec.structs.replace(found, unpriced_attempts=0).to_json()


def test_reserved_credits_are_shown() -> None:
    found = summary(Exit.INTERRUPTED, "interrupted", running=1)
    found = msgspec.structs.replace(
        found, credits={"spent": 1.5, "reserved": 2.0, "balance": None, "exceeded": 0.0}, spent_now=0.5
    )
    assert "interrupted: 1 running, 1.5 credits (0.5 in this run) and 2 reserved" in last_line(
        found, Settings(), "batchswap run x"
    )


def test_what_is_shown_can_be_written_as_json() -> None:
    shown = Progress(view(queued=5), 0.0).at(view(done=2, queued=3), 10.0).to_json()
    assert (shown["done"], shown["queued"], shown["spent"], shown["pace"]) == (2, 3, 2.0, "20/10s")
