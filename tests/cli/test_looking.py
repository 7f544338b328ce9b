"""The output of status, tasks, show, check, plan, balance and doctor, also with hostile text."""

import asyncio
import csv
import importlib.util
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from batchswap.cli.command_options import PlanOptions
from batchswap.cli.commands import status
from batchswap.cli.settings_from_options import build_settings
from batchswap.ledger.file.lock import hold
from batchswap.ledger.selections import Selection
from batchswap.manifest import Source, read
from batchswap.operations.provider import find_account
from batchswap.operations.survey import find_prices
from batchswap.report.formatting import moment
from batchswap.report.plan_survey import Surveyor
from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor, selling
from tests.cli.conftest import Place, call, chosen, work
from tests.cli.quick import QuickEngine
from tests.cli.test_run import COUNTS, dump
from tests.cli.test_words import change
from tests.http.scripted import Act, Request
from tests.http.scripted_replies import ok, reply

HOSTILE = "\x1b]0;owned\x07\u202e=cmd()\r\n[red]\x9b31m"
RECORD = [
    "batch", "key", "state", "code", "reason", "model", "target", "face", "output", "consent", "tags", "tries",
    "credits", "remote_id", "file", "size", "sha256", "changed_at", "line", "extra", "quality",
    "swap_score", "review", "signed", "key_name", "withdrawn",
]  # fmt: skip


@pytest.fixture
def worked(shop: Place) -> Place:
    """Return a ledger with two batches: one done, one failed."""
    Path("fine.csv").write_text(
        f"id,video,face,tags,consent,x_note\na,{shop.video('a.mp4')},face.png,de;hero,release-1,=1+1\n"
    )
    assert work("fine.csv").exit_code == 0
    assert work(shop.manifest("bad.csv", 2, "broken")).exit_code == 3
    return shop


def poison(column: str) -> None:
    """Write text to the ledger that no manifest could contain."""
    db = sqlite3.connect("batchswap.db")
    db.execute(f"update tasks set {column} = ?", (HOSTILE,))
    db.commit()
    db.close()


def test_status_as_json(worked: Place) -> None:
    said = json.loads(call("status", "--json").stdout)
    assert list(said["counts"]) == COUNTS
    assert list(said["credits"]) == ["spent", "reserved", "balance", "exceeded"]
    assert (said["counts"]["done"], said["counts"]["failed"], said["credits"]["spent"]) == (1, 2, 3)
    assert [part["batch"] for part in said["batches"]] == ["bad", "fine"]
    assert all(list(part["counts"]) == COUNTS for part in said["batches"])
    assert said["needs_a_person"]["failed"][0]["count"] == 2
    assert said["last_run"]["exit_code"] == 3
    assert said["running"] is False


def test_status_for_people(worked: Place) -> None:
    said = call("status").stdout
    assert "2 × 501: input.video_url: no face found in any frame" in said
    assert [line.split()[:2] for line in said.splitlines()[1:4]] == [["bad", "0"], ["fine", "1"], ["all", "1"]]


def test_status_in_a_narrow_terminal_cuts_no_name(worked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["spring-campaign-2026-a", "spring-campaign-2026-b"]
    for name, old in zip(names, ("bad", "fine"), strict=True):
        change("update batches set name = ? where name = ?", name, old)
    for columns in (40, 80):
        monkeypatch.setattr(status, "columns", lambda columns=columns: columns)
        lines = call("status").stdout.splitlines()
        assert lines[:3] == [
            f"{names[0]}: 2 failed; 2 credits spent, 0 reserved",
            f"{names[1]}: 1 done; 1 credit spent, 0 reserved",
            "all: 1 done, 2 failed; 3 credits spent, 0 reserved",
        ]
    monkeypatch.setattr(status, "columns", lambda: 120)
    assert [line.split()[0] for line in call("status").stdout.splitlines()[:4]] == ["batch", *names, "all"]


def test_status_counts_the_remaining_tasks_and_prints_the_next_command(worked: Place) -> None:
    assert "unfinished" not in call("status").stdout
    assert call("retry", "bad/r0").exit_code == 0
    assert "\n1 unfinished task: `batchswap run` with the same manifest resumes it\n" in call("status").stdout
    with hold(Path("batchswap.db"), wait=False):
        change("update runs set ended_at = null, pid = 1 where id = 2")
        assert "unfinished" not in call("status").stdout, "the run is at it"


def test_a_balance_has_the_time_at_which_a_run_saw_it(worked: Place) -> None:
    """A run without submits does not request the balance, and status does not claim that it did."""
    assert work("fine.csv").exit_code == 0
    change("update runs set ended_at = 1.7e9 where id = 2")
    change("update runs set summary = json_set(summary, '$.credits.balance', 12.5) where id = 2")
    assert f"\nbalance: 12.5 credits at {moment(1.7e9)}\n" in call("status").stdout


def test_status_without_a_ledger(place: Place) -> None:
    said = call("status")
    assert said.exit_code == 2
    assert "there is no ledger" in said.stderr
    assert json.loads(call("status", "--json").stdout)["exit_code"] == 2


@pytest.mark.parametrize("name", ["batchswap.db", "fine.csv", "./work/../batchswap.db"])
def test_a_plot_destroys_no_file(worked: Place, name: str) -> None:
    Path("work").mkdir()
    before = Path(name).read_bytes()
    refused = call("status", "--plot", name)
    assert (refused.exit_code, Path(name).read_bytes()) == (2, before)
    assert "name another file" in refused.stderr


def test_status_distinguishes_a_killed_run_and_one_in_progress(worked: Place) -> None:
    db = sqlite3.connect("batchswap.db")
    db.execute("update runs set ended_at = null, pid = 4194304 where id = 2")
    db.commit()
    assert "killed before it ended" in call("status").stdout
    db.execute("update runs set pid = 1 where id = 2")
    db.commit()
    db.close()
    assert "killed before it ended" in call("status").stdout, "its number is another's by now"
    assert json.loads(call("status", "--json").stdout)["running"] is False
    with hold(Path("batchswap.db"), wait=False):
        assert "a run has been in progress since" in call("status").stdout
        assert json.loads(call("status", "--json").stdout)["running"] is True


def test_tasks_in_every_format(worked: Place) -> None:
    as_json = json.loads(call("tasks", "--format", "json").stdout)
    lines = [json.loads(line) for line in call("tasks", "--format", "jsonl").stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(call("tasks", "--format", "csv").stdout)))
    assert as_json == lines
    assert [list(each) for each in as_json] == [RECORD] * 3
    assert [row["key"] for row in rows] == ["a", "r0", "r1"]
    assert as_json[0]["tags"] == ["de", "hero"]
    assert as_json[0]["extra"] == {"x_note": "=1+1"}
    assert as_json[0]["file"] == "fine/a.mp4"
    assert "fine/a.mp4" in call("tasks").stdout.splitlines()[1]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_tasks_as_json_are_json_in_any_encoding(worked: Place, form: str) -> None:
    """A Latin-1 terminal can show é but not the other letters."""
    change("update tasks set consent = 'é … 日本 😀' where key = 'a'")
    said = call("tasks", "--format", form, "--batch", "fine").stdout
    assert said.isascii()
    assert json.loads(said.strip("[]\n"))["consent"] == "é … 日本 😀"


def test_tasks_are_chosen(worked: Place) -> None:
    def keys(*arguments: str) -> list[str]:
        return [each["key"] for each in json.loads(call("tasks", "--format", "json", *arguments).stdout)]

    assert keys("--state", "failed") == ["r0", "r1"]
    assert keys("--state", "failed", "--state", "done") == ["a", "r0", "r1"]
    assert keys("--batch", "fine") == ["a"]
    assert keys("--code", "501") == ["r0", "r1"]
    assert keys("--code", "404") == []


def test_show_has_the_whole_history(worked: Place) -> None:
    said = call("show", "fine/a").stdout
    for word in (
        "consent: release-1",
        "tags: de, hero",
        "x_note: =1+1",
        "attempt 1: succeeded, 1 credit (run",
        "saved",
    ):
        assert word in said
    story = json.loads(call("show", "a", "--json").stdout)
    assert list(story) == [*RECORD, "share", "evidence", "note", "faces", "attempts", "events"]
    assert [each["event"] for each in story["events"]] == ["submitted", "accepted", "succeeded", "saved"]


def test_show_shows_no_signature(worked: Place) -> None:
    """The URL of a result is signed (invariant 9)."""
    both = call("show", "a").stdout + call("show", "a", "--json").stdout
    assert "/media/" in both or "media: http" in both
    assert "sig" not in both.replace("signature", "").replace('"signed"', "")
    assert "?…" in both


def test_the_list_can_be_limited_to_a_release(worked: Place) -> None:
    assert [each["key"] for each in json.loads(call("tasks", "--consent", "release-1", "--format", "json").stdout)] == [
        "a"
    ]
    assert json.loads(call("tasks", "--consent", "release-2", "--format", "json").stdout) == []


def test_an_unknown_or_ambiguous_key_is_refused(worked: Place) -> None:
    assert work(worked.manifest("more.csv", 1)).exit_code == 0
    assert 'there is no task "unknown" in batchswap.db; `batchswap tasks` lists them' in call("show", "unknown").stderr
    Path("batchswap.db").rename("a b.db")
    for words in (["show"], ["retry"], ["cancel"], ["resolve", "--give-up"]):
        said = call(*words, "unknown", "--db", "a b.db").stderr
        assert "in a b.db; `batchswap tasks --db 'a b.db'` lists them" in said, words
    Path("a b.db").rename("batchswap.db")
    several = call("show", "r0")
    assert several.exit_code == 2
    assert "bad/r0, more/r0" in several.stderr
    assert call("show", "more/r0").exit_code == 0


@pytest.mark.parametrize("column", ["reason", "code", "output", "target", "key"])
def test_hostile_text_stays_text(worked: Place, column: str) -> None:
    if column == "key":
        db = sqlite3.connect("batchswap.db")
        db.execute("update tasks set key = ? || id", (HOSTILE,))
        db.commit()
        db.close()
        name = HOSTILE + "1"
    else:
        poison(column)
        name = "a"
    said = call("status").output + call("tasks").output + call("show", name).output
    assert call("show", name).exit_code == 0
    for letter in ("\x1b", "\x07", "\u202e", "\x9b", "\r"):
        assert letter not in said
    for row in csv.reader(io.StringIO(call("tasks", "--format", "csv").stdout)):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_check_touches_nothing(place: Place) -> None:
    name = place.manifest("spring.csv", 2)
    before = sorted(place.folder.iterdir())
    assert call("check", name).stdout == "spring: 2 rows, no mistakes found\n"
    assert json.loads(call("check", name, "--json").stdout) == {"batches": {"spring": 2}, "problems": []}
    assert sorted(place.folder.iterdir()) == before


def test_check_names_every_place(place: Place) -> None:
    Path("spring.csv").write_text("id,video,face\na,gone.mp4,face.png\nb,gone.mp4,face.png\n")
    said = call("check", "spring.csv", "--json")
    assert said.exit_code == 2
    assert [problem["line"] for problem in json.loads(said.stdout)["problems"]] == [2, 3]
    assert len(said.stderr.splitlines()) == 2


def test_a_plan_writes_nothing(worked: Place) -> None:
    """With rows of every kind, neither the ledger nor the folder changes."""
    video, other = worked.video("b.mp4"), worked.video("c.mp4")
    Path("bad.csv").write_text(f"id,video,face\nr0,bad0.mp4,face.png\nr2,{video},face.png\nr3,{other},face.png\n")
    Path("fine.csv").write_text(f"id,video,face\na,{other},face.png\n")
    ledger, files = dump(), sorted(worked.folder.iterdir())
    said = json.loads(call("plan", "bad.csv", "fine.csv", "--json", "--budget", "5", "--duplicates", "pay").stdout)
    assert {kind: n for kind, n in said["rows"].items() if n} == {"new": 2, "changed": 1, "failed": 1, "orphaned": 1}
    assert said["submits"] == 3
    assert said["credits"]["estimated"] == 3  # files are priced when they are uploaded; until then as the last tasks
    assert said["credits"]["note"].endswith("unknown prices are taken from the latest tasks")
    plans = [call(*words, "bad.csv").stdout.splitlines() for words in (("run", "-n"), ("plan",))]
    assert len({tuple(line for line in plan if not line.startswith("time: ")) for plan in plans}) == 1
    assert (dump(), sorted(worked.folder.iterdir())) == (ledger, files)


def test_a_plan_requests_prices(shop: Place, _server: Any) -> None:
    video = _server.upload((shop.folder / shop.video("v.mp4")).read_bytes())
    face = _server.upload((shop.folder / "face.png").read_bytes(), ".png", "image/png")
    Path("urls.csv").write_text("id,video,face\n" + "".join(f"u{i},{video}?n={i},{face}\n" for i in range(7)))
    said = json.loads(call("plan", "urls.csv", "--json", "--budget", "6", "--limit", "5").stdout)
    assert said["credits"]["estimated"] == 5
    assert said["credits"]["affordable"] is True
    assert said["rows"]["left_out"] == 2
    assert said["requests"] == 5 * 2 + 5 + 1  # with a budget, each target of unknown length is priced for itself
    assert said["seconds"] == 8.0
    poor = call("plan", "urls.csv", "--budget", "6").stdout
    assert "about 7 (an estimate), " in poor and "\n  1 for each video-face-swap" in poor
    assert "not enough: the run would stop with exit 6" in poor


def test_a_plan_counts_the_costs_of_the_day_against_its_budget(shop: Place) -> None:
    assert work(shop.manifest("spring.csv", 2)).exit_code == 0
    more = shop.manifest("more.csv", 2)
    for day, is_enough, left in (("3", False, 1), ("4", True, 2), ("1", False, 0)):
        found = json.loads(call("plan", more, "--json", "--budget-per-day", day).stdout)["credits"]
        assert (found["estimated"], found["affordable"], found["left_today"]) == (2, is_enough, left)
    said = call("plan", more, "--budget-per-day", "3").stdout
    assert "1 left of today's budget, not enough: the run would stop with exit 6" in said
    assert work(more, "--budget-per-day", "3").exit_code == 6


def test_a_plan_prices_chosen_faces_by_detecting_one_target(shop: Place, _server: Any) -> None:
    video = _server.upload((shop.folder / shop.video("duo.mp4")).read_bytes())
    face = _server.upload((shop.folder / "face.png").read_bytes(), ".png", "image/png")
    rows = "".join(f"u{i},{video}?n={i % 2},{face}\n" for i in range(6))
    Path("duo.csv").write_text(f"id,video,face_1\n{rows}")
    said = json.loads(call("plan", "duo.csv", "--json").stdout)
    assert said["credits"]["per_task"] == {"video-face-swap-multi": 1}
    assert said["credits"]["estimated"] == 6
    assert (said["detections"], said["uploads"]) == (2, 0)
    assert said["requests"] == 2 * 6 + 2 * 2 + 2
    assert said["finished_at"].endswith("Z")
    shown = call("plan", "duo.csv").stdout
    assert "requests: about 18, with 2 detections" in shown
    assert "time: about 9.0 s, done by 20" in shown
    Path("duo.csv").write_text(f"id,video,face_7\nu,{video},{face}\n")
    assert "face 7 was not detected; detected: 0, 1" in call("plan", "duo.csv").stdout


def test_a_plan_without_a_key_says_so(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRUN_API_KEY")
    said = call("plan", shop.manifest("spring.csv", 1))
    assert said.exit_code == 0
    assert "credits: unknown; there is no API key" in said.stdout


def test_a_plan_does_not_blame_files_if_the_api_returns_no_price(place: Place) -> None:
    with selling() as vendor:
        vendor.spoil = lambda _, kind, __: reply(json=ok({})) if kind == "estimate" else None
        shop = Shop(place.folder, vendor)
        shop.rows(1)
        found = json.loads(shop.run("--dry-run", "--json").stdout)["credits"]
    assert (found["estimated"], found["note"]) == (None, "the API returned no estimate")


def test_a_price_that_the_api_never_returned_is_unknown_and_not_zero(place: Place) -> None:
    with selling() as vendor:

        def spoil(_: Vendor, kind: str, request: Request) -> Act | None:
            if kind not in ("estimate", "poll"):
                return None
            info = vendor.info(request.query["task_id"]) or {} if kind == "poll" else {}
            return reply(json=ok({**info, "credits": None}))

        vendor.spoil = spoil
        shop = Shop(place.folder, vendor)
        shop.rows(1)
        done = shop.run()
    assert done.exit_code == 0, done.stderr
    assert ": 1 done, unknown credits, and 1 attempt without a price, " in done.stderr.splitlines()[-1]
    db = ("--db", str(place.folder / "b.db"))
    assert "the cost of 1 ended attempt is unknown" in shop.call("status", *db).stdout
    assert "attempt 1: succeeded, cost unknown (" in shop.call("show", "r0", *db).stdout


def test_a_plan_refuses_the_base_url_that_a_run_refuses(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    said = [call(command, name, "--base-url", "http://api.example", "--json") for command in ("plan", "run")]
    assert [each.exit_code for each in said] == [2, 2]
    assert said[0].stdout == said[1].stdout


def test_the_local_provider_prices_files(place: Place) -> None:
    """It uses a temporary folder and deletes it."""
    settings = build_settings(chosen(PlanOptions, "m.csv", "--provider", "local"))
    assert find_account(settings) is None
    found = Surveyor(None, Selection()).survey(read([Source(place.manifest("spring.csv", 2))]))
    prices = asyncio.run(find_prices(settings, found, None, QuickEngine()))
    assert (list(prices.each.values()), prices.note) == ([1.0], "")
    assert not Path("batchswap-local").exists()


def test_balance(shop: Place) -> None:
    assert call("balance").stdout.endswith(" credits\n")
    assert list(json.loads(call("balance", "--json").stdout)) == ["balance"]


def test_an_unreachable_api_is_reported(shop: Place) -> None:
    said = call("doctor", "--base-url", "http://127.0.0.1:9", "--json")
    assert said.exit_code == 8
    findings = {each["name"]: each for each in json.loads(said.stdout)["findings"]}
    assert list(findings) == ["clock", "ledger", "state", "disk", "key", "api", "engine", "proof"]
    assert not findings["api"]["ok"]
    assert "--base-url" in findings["api"]["remedy"]


def test_doctor_says_how_results_can_be_examined(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ok   proof: results are examined" in call("doctor").stdout
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *given: real(name, *given) if name != "face_recognition_models" else None,
    )
    said = call("doctor")
    assert "proof: results are not examined, and their quality is unknown" in said.stdout
    assert "face_recognition_models, which is not installed: pip install 'batchswap[proof]'" in said.stdout
    assert said.exit_code == 0


def test_a_damaged_ledger_is_found(worked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRUN_API_KEY")
    Path("junk.db").write_bytes(b"not a database, whatever its name says" * 50)
    said = call("doctor", "--db", "junk.db", "--min-free", "9999TB").stdout
    assert "BAD  ledger: junk.db: is not a batchswap ledger" in said
    assert "BAD  disk: " in said
    assert "BAD  key: there is no API key; " in said
    assert said.count("CRUN_API_KEY=ak_") == 1, "the remedy comes once"
    db = sqlite3.connect("batchswap.db")
    db.execute("update events set at = at + 9999")
    db.commit()
    db.close()
    assert "BAD  clock: " in call("doctor").stdout
