"""`run --tick`, `--submit-only` and `--collect-only`, as cron calls them."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Place, call, use
from tests.cli.quick import KEY, QuickEngine
from tests.http.local import running

FAST = ("--rate", "1000/10s")


def tick(name: str, *more: str) -> tuple[int, str, str]:
    done = call("run", name, "--tick", *FAST, *more)
    return done.exit_code, done.stdout, done.stderr


def until_done(name: str, *more: str) -> list[tuple[int, str, str]]:
    """Call ticks, as cron does, until one ends with another code than 7."""
    found = [tick(name, *more)]
    while found[-1][0] == 7:
        assert len(found) < 100
        time.sleep(0.1)
        found.append(tick(name, *more))
    return found


@pytest.mark.parametrize("second", ["--submit-only", "--collect-only"])
def test_a_run_has_one_mode(shop: Place, second: str) -> None:
    code, _, said = tick(shop.manifest("spring.csv", 1), second)
    assert code == 2
    assert "give one of --tick, --submit-only and --collect-only" in said


def test_quiet_ticks_say_nothing_until_the_batch_is_done(shop: Place) -> None:
    name = shop.manifest("spring.csv", 4)
    *before, last = until_done(name, "-q")
    assert before
    assert {(code, out, said) for code, out, said in before} == {(7, "", "")}
    assert last[2].startswith("done: 4 done")
    assert tick(name, "-q") == (0, "", ""), "a further tick finds nothing to do"


def test_quiet_ticks_report_trouble_once(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    foreign = shop.folder / "results/spring/r1.mp4"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"not a result")
    ends = until_done(name, "-q")
    assert ends[-1][0] == 3
    assert sum(bool(said) for _, _, said in ends) == 1
    assert "1 failed" in ends[-1][2]
    assert tick(name, "-q") == (3, "", "")


def test_another_cause_of_the_same_exit_code_is_news(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who has raised the budget must learn that the account is out of credits, too."""
    with running(tmp_path / "other", QuickEngine(), keys=(KEY,), balance=1.0) as server:
        use(server, monkeypatch)
        name = place.manifest("spring.csv", 3)
        code, _, said = until_done(name, "-q", "--budget", "1")[-1]
        assert (code, said.count("the budget is used up: the rest stays queued")) == (6, 1)
        assert tick(name, "-q", "--budget", "1") == (6, "", "")
        code, _, said = tick(name, "-q", "--budget", "3")
        assert (code, said.count("out of credits (402): top up, and run again")) == (6, 1)
        assert said.splitlines()[-1].startswith("out of credits (402); work is left for the next tick: 1 done")
        assert tick(name, "-q", "--budget", "3") == (6, "", "")


def test_the_document_and_status_say_when_the_next_tick_is_worth_it(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    first = call("run", name, "--submit-only", *FAST, "--json")
    document = json.loads(first.stdout)
    assert (document["exit_code"], document["finished"]) == (7, False)
    assert document["reason"] == "work is left for the next tick"
    assert document["requests"]["poll"] == 0
    assert document["next_tick_at"] >= time.time() - 60
    status = call("status")
    assert "the next tick is worth it" in status.stdout
    assert json.loads(call("status", "--json").stdout)["next_tick_at"] == document["next_tick_at"]
    done = call("run", name, "--collect-only", *FAST, "--json")
    document = json.loads(done.stdout)
    assert (document["exit_code"], document["finished"], document["counts"]["done"]) == (0, True, 2)
    assert "next_tick_at" not in document
    assert "next tick" not in call("status").stdout


def test_a_tick_says_once_that_callbacks_are_not_used(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    _, _, said = tick(name, "--callback-url", "https://hooks.example.com", "--callback-listen", "127.0.0.1:0")
    assert said.count("--callback-url is not used") == 1


def test_a_skipped_tick_is_silent(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    until_done(name)
    from batchswap.ledger.file.lock import hold

    with hold(shop.folder / "batchswap.db", wait=False):
        assert tick(name, "-q", "--if-running", "skip") == (0, "", "")
        assert tick(name, "--if-running", "skip")[2] == "skipped: another run is using batchswap.db\n"


def test_the_ledger_keeps_what_a_run_was_asked_to_do(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    until_done(name)
    call("run", name, *FAST)
    with closing(sqlite3.connect("batchswap.db")) as db:
        modes = [mode for (mode,) in db.execute("select mode from runs order by id")]
        series = {each for (each,) in db.execute("select series from runs where mode = 'tick'")}
    assert modes == ["tick"] * (len(modes) - 1) + ["run"]
    assert series == {1}


def test_a_tick_does_not_pay_again_for_the_rows_of_another_ledger(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    call("run", name, "--submit-only", *FAST)
    for each in shop.folder.glob("batchswap.db*"):
        each.rename(shop.folder / f"moved-{each.name}")
    for _ in range(2):
        code, _, said = tick(name, "-q")
        assert code == 2
        assert "2 rows of these manifests (spring/r0, spring/r1) were submitted before with another ledger" in said
        assert "--duplicates pay" in said
    assert not (shop.folder / "batchswap.db").exists()
    shop.manifest("winter.csv", 1, "winter")
    assert until_done("winter.csv")[-1][0] == 0
    for _ in range(2):
        assert tick(name)[0] == 2, "also in a ledger that has other batches"
    assert tick(name, "--duplicates", "pay")[0] in (0, 7)


def test_collect_only_does_not_offer_itself_to_resume(shop: Place) -> None:
    done = call("run", shop.manifest("spring.csv", 1), "--collect-only", *FAST)
    assert done.exit_code == 7
    assert "resume" not in done.stderr
