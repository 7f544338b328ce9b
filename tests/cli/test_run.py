"""`batchswap run`, from its options to its exit code."""

import asyncio
import json
import pwd
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from batchswap.cli.command_options import RunOptions
from batchswap.cli.progress import watch_nothing
from batchswap.cli.settings_from_options import build_settings, build_sources
from batchswap.errors import LedgerFailed
from batchswap.events import LogEvent
from batchswap.ledger import group_commit
from batchswap.ledger.file import connection as files
from batchswap.ledger.file.lock import hold
from batchswap.manifest import Options
from batchswap.operations.provider import find_account
from batchswap.operations.run_steps import enrol, work_off_at
from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor, selling
from tests.cli.conftest import Place, call, chosen, use, work
from tests.cli.quick import KEY, QuickEngine
from tests.http.local import running
from tests.http.scripted import Request
from tests.ports import callback_options

SUMMARY = [
    "exit_code", "reason", "batch", "counts", "credits", "requests", "seconds", "needs_you", "quality", "signed",
    "finished",
]  # fmt: skip
COUNTS = ["queued", "submitting", "running", "fetching", "done", "failed", "uncertain", "cancelled"]
REQUESTS = ["submit", "poll", "estimate", "balance", "upload", "detect", "refused_429"]


def dump(db: str = "batchswap.db") -> list[str]:
    """Return all contents of a ledger."""
    with sqlite3.connect(db) as connection:
        found = list(connection.iterdump())
    connection.close()
    return found


def test_a_run_ends_with_files_and_one_line(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 3))
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("done: 3 done, 3 credits, ")
    assert done.stderr.splitlines()[-1].endswith("; results in results/")
    assert sorted(path.name for path in (shop.folder / "results/spring").iterdir()) == ["r0.mp4", "r1.mp4", "r2.mp4"]


def test_json_is_one_document_of_the_promised_shape(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 2), "--json")
    said = json.loads(done.stdout)
    assert list(said) == SUMMARY
    assert list(said["counts"]) == COUNTS
    assert list(said["credits"]) == ["spent", "reserved", "balance", "exceeded"]
    assert list(said["requests"]) == REQUESTS
    assert said["quality"] == {"swapped": 0, "partly": 0, "unchanged": 0, "no_face": 0, "unknown": 2}
    assert (said["exit_code"], said["reason"], said["batch"]) == (0, "all done", ["spring"])
    assert (said["counts"]["done"], said["credits"]["spent"], said["requests"]["submit"]) == (2, 2, 2)


def test_a_repeated_run_sends_no_request(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    work(name)
    again = work(name, "--json")
    assert json.loads(again.stdout)["requests"] == dict.fromkeys(REQUESTS, 0)
    assert again.stderr.splitlines()[-1].startswith("nothing to do: 2 done, 2 credits (0 in this run)")


def change(sql: str) -> None:
    """Change the ledger to a state that would be slow to reach."""
    with sqlite3.connect("batchswap.db") as connection:
        connection.execute(sql)
    connection.close()


def test_a_run_that_only_downloads_had_something_to_do(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    work(name)
    for path in Path("results/spring").iterdir():
        path.unlink()
    change("update tasks set state = 'fetching', file = null, size = null, sha256 = null")
    again = work(name)
    assert again.stderr.splitlines()[-1].startswith("done: 2 done, 2 credits (0 in this run)")
    assert again.stderr.splitlines()[-1].endswith("; results in results/")
    assert len(list(Path("results/spring").iterdir())) == 2


def test_a_run_without_results_names_no_folder_for_them(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    work(name)
    for out in ("elsewhere", "."):
        again = work(name, "--out", out).stderr.splitlines()[-1]
        assert again.endswith(f"; results are not in {out}/ but where an earlier run saved them")
    assert not Path("elsewhere").exists()
    assert work(name).stderr.splitlines()[-1].endswith("; results in results/")


def test_tasks_without_a_price_are_not_reported_as_free(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    work(name)
    change("update attempts set charged = null")
    again = work(name).stderr.splitlines()[-1]
    assert again.startswith("nothing to do: 2 done, unknown credits, and 2 attempts without a price, "), again


def test_a_failed_task_ends_the_run_with_3_and_the_next_command(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 1, "broken"), "--db", "it's.db")
    assert done.exit_code == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("not all done: 1 failed, 1 credit, ")
    assert last.endswith("; next: batchswap status --db 'it'\"'\"'s.db', then retry and run")


def test_an_invalid_manifest_leaves_nothing_behind(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    with Path(name).open("a") as file:
        file.write("r0,spring0.mp4,face.png\nr3,nowhere.mp4,face.png\n")
    before = sorted(shop.folder.iterdir())
    done = work(name)
    assert done.exit_code == 2
    assert "batchswap: spring.csv:5: video: " in done.stderr
    assert "batchswap: spring.csv:4: id: " in done.stderr
    assert sorted(shop.folder.iterdir()) == before


def test_run_and_check_report_an_unreadable_manifest_alike(shop: Place) -> None:
    name = "n" * 300 + ".csv"
    checked, done = call("check", name), work(name)
    assert (checked.exit_code, done.exit_code) == (2, 2)
    assert "cannot be read: File name too long" in done.stderr
    assert not Path("batchswap.db").exists()


def test_an_invalid_manifest_changes_no_ledger(shop: Place) -> None:
    work(shop.manifest("spring.csv", 1))
    before = dump()
    Path("autumn.csv").write_text("id,video,face\na,nowhere.mp4,face.png\n")
    assert work("autumn.csv").exit_code == 2
    assert dump() == before


def test_nothing_is_paid_if_the_result_cannot_be_written(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    Path("out").symlink_to("gone/nowhere")  # what a disk leaves that is not mounted
    done = work(name, "--out", "out")
    assert done.exit_code == 3
    assert "cannot write to --out out: nothing is submitted" in done.stderr
    assert json.loads(call("status", "--json").stdout)["counts"]["queued"] == 2
    again = work(name)
    assert again.exit_code == 0, again.stderr


def test_without_a_home_a_run_names_the_variable_to_set(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, the user may have no entry in passwd."""

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    name = shop.manifest("spring.csv", 1)
    refused = call("run", name)
    assert refused.exit_code == 2
    assert "set XDG_STATE_HOME" in refused.stderr
    monkeypatch.setenv("XDG_STATE_HOME", str(shop.folder / "state"))
    assert call("run", name).exit_code == 0


def test_another_run_holds_the_ledger(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    with hold(Path("batchswap.db"), wait=False):
        busy, skipped = work(name), work(name, "--if-running", "skip")
        as_json = work(name, "--json")
    assert busy.exit_code == 75
    assert "another run holds batchswap.db" in busy.stderr
    assert skipped.exit_code == 0
    assert "skipped: another run is using batchswap.db" in skipped.stderr
    assert json.loads(as_json.stdout)["exit_code"] == 75


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait half a minute for another writer, but give up at once."""
    monkeypatch.setattr(files, "_BUSY_SECONDS", 0.2)
    monkeypatch.setattr(group_commit, "be_patient", lambda db, seconds=0.2: files.be_patient(db, seconds))


@pytest.mark.usefixtures("hurried")
def test_a_program_that_keeps_the_ledger_locked_in_mid_run_ends_it_with_1(place: Place) -> None:
    with selling() as vendor, closing(sqlite3.connect("b.db", isolation_level=None, check_same_thread=False)) as other:
        shop = Shop(place.folder, vendor)
        shop.rows(1)

        def lock(_: Vendor, kind: str, request: Request) -> None:
            if kind == "submit":
                other.execute("begin immediate")

        vendor.spoil = lock
        done = shop.run("--rate", "none", "--json")
        assert (done.exit_code, vendor.requests("submit")) == (1, 1)
        assert done.stderr.splitlines()[-1].endswith("b.db: another program keeps it locked")
        assert "cannot be recorded: keep the id for `batchswap resolve`" in done.stderr
        assert json.loads(done.stdout)["exit_code"] == 1
        other.execute("rollback")


@pytest.mark.usefixtures("hurried")
def test_a_program_that_keeps_the_ledger_locked_before_a_run_ends_it_with_1(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    assert work(name, "--limit", "0").exit_code == 0
    with closing(sqlite3.connect("batchswap.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        for done in (work(shop.manifest("autumn.csv", 1)), work(name), call("retry", "spring/r0")):
            assert done.exit_code == 1
            assert "batchswap.db: another program keeps it locked" in done.stderr


@pytest.mark.usefixtures("hurried")
def test_a_program_that_locks_the_ledger_just_before_the_first_request_is_reported(shop: Place) -> None:
    options = chosen(RunOptions, shop.manifest("spring.csv", 1))
    settings = build_settings(options)
    account = find_account(settings)
    enrol(
        settings,
        build_sources(options.manifests, options),
        Options(),
    )
    with closing(sqlite3.connect("batchswap.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(LedgerFailed, match="another program keeps it locked"):
            asyncio.run(work_off_at(settings, account, watch=watch_nothing))


def test_a_db_that_is_no_ledger_is_a_usage_error(shop: Place) -> None:
    Path("diary.db").write_bytes(b"my holiday diary\n" * 100)
    done = work(shop.manifest("spring.csv", 1), "--db", "diary.db")
    assert done.exit_code == 2
    assert "diary.db: is not a batchswap ledger" in done.stderr


def test_without_a_key_nothing_happens(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRUN_API_KEY")
    done = work(shop.manifest("spring.csv", 1))
    assert done.exit_code == 5
    assert "there is no API key: set CRUN_API_KEY" in done.stderr
    assert not Path("batchswap.db").exists()


def test_a_malformed_key_is_not_shown(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUN_API_KEY", "ak_secretsecret")
    done = work(shop.manifest("spring.csv", 1), "--base-url", "https://api.crun.ai")
    assert done.exit_code == 5
    assert "malformed (it has 12 characters after ak_)" in done.stderr
    assert "secretsecret" not in done.output


def test_a_key_that_the_api_refuses_ends_the_run_with_5(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "ak_" + "w" * 32
    monkeypatch.setenv("CRUN_API_KEY", wrong)
    done = work(shop.manifest("spring.csv", 1))
    assert done.exit_code == 5
    assert "the API refuses the key (401)" in done.stderr
    assert "w" * 32 not in done.output + "".join(dump())


def test_a_refused_key_says_what_to_do(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = shop.manifest("spring.csv", 1)
    assert work(manifest, "--submit-only", "-q").exit_code == 7
    monkeypatch.setenv("CRUN_API_KEY", "ak_" + "w" * 32)
    done = work(manifest, "--collect-only", "-q")
    assert done.exit_code == 5
    advice, last = done.stderr.splitlines()[-2:]
    assert advice.endswith("set CRUN_API_KEY, or the line CRUN_API_KEY=… in ~/.crun/.env")
    assert last.startswith("nothing is submitted (--collect-only); the API refuses the key (401): 1 running")
    assert [work(manifest, "--tick", "-q").stderr.count("set CRUN_API_KEY") for _ in range(2)] == [1, 0]


def test_a_base_url_that_shows_the_key_is_refused_before_anything(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 1), "--base-url", "http://api.example.com")
    assert done.exit_code == 2
    assert not Path("batchswap.db").exists()


def test_the_budget_ends_the_run_with_6(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 3), "--budget", "2")
    assert done.exit_code == 6
    assert "the budget is used up: the rest stays queued" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "2 done, 1 queued, 2 credits" in last
    assert last.endswith("; run the same command again to resume"), "its options have no room in two lines"


def test_a_deadline_that_is_over_ends_the_run_with_7(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 2), "--max-duration", "0s")
    assert done.exit_code == 7
    assert "2 queued, 0 credits" in done.stderr.splitlines()[-1]


def test_quiet_prints_only_the_last_line(shop: Place) -> None:
    assert len(work(shop.manifest("spring.csv", 1), "-q").stderr.splitlines()) == 1


def test_log_lines_are_json_objects(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 1), "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "event", "message"} <= set(line) for line in lines)
    assert {line["event"] for line in lines} <= set(LogEvent)
    assert lines[0]["event"] == "enrolled"
    assert lines[0]["message"] == "spring: 1 row, 1 new, 0 changed"
    assert (lines[-1]["event"], lines[-1]["counts"]["done"]) == ("finished", 1)
    failed = work("nowhere.csv", "--log-format", "json")
    assert [json.loads(line)["level"] for line in failed.stderr.splitlines()] == ["error"]
    assert json.loads(failed.stderr)["event"] == "error"


def test_messages_have_the_name_and_fields_of_their_event(shop: Place) -> None:
    manifest = shop.manifest("spring.csv", 3)
    stopped = work(manifest, "--log-format", "json", "--budget", "2")
    lines = {line["event"]: line for line in map(json.loads, stopped.stderr.splitlines())}
    assert (lines["run-stopping"]["exit"], lines["run-stopping"]["level"]) == (6, "warning")
    assert "detail" not in lines


def test_a_manifest_from_standard_input(shop: Place) -> None:
    text = Path(shop.manifest("spring.csv", 2)).read_text()
    checked = call("check", "-", "--format", "csv", "--batch", "piped", stdin=text)
    assert checked.stdout == "piped: 2 rows, no mistakes found\n"


def test_part_of_a_manifest(shop: Place) -> None:
    name = shop.manifest("spring.csv", 3)
    assert json.loads(work(name, "--limit", "1", "--json").stdout)["counts"]["done"] == 1
    assert json.loads(work(name, "--limit", "1", "--json").stdout)["counts"]["done"] == 1
    assert json.loads(work(name, "--filter", "r2", "--json").stdout)["counts"]["done"] == 2


def test_batches_of_the_same_name_in_other_folders_are_other_work(shop: Place) -> None:
    """Paid tasks stay paid when their folder moves. Another folder with the same names is other work."""
    names = ("face.png", shop.video("a.mp4"), "jobs.csv")
    Path("jobs.csv").write_text("video,face\na.mp4,face.png\n")
    for folder in ("monday", "tuesday"):
        Path(folder).mkdir()
        for name in names:
            (Path(folder) / name).write_bytes(Path(name).read_bytes())
    assert work("monday/jobs.csv").exit_code == 0
    for other in (work("tuesday/jobs.csv"), call("plan", "tuesday/jobs.csv")):
        assert other.exit_code == 2
        assert f'batch "jobs" comes from {Path("monday/jobs.csv").resolve()}' in other.stderr
    Path("monday").rename("archive")
    moved = work("archive/jobs.csv")
    assert (moved.exit_code, moved.stderr.splitlines()[-1][:22]) == (0, "nothing to do: 1 done,")
    assert work("tuesday/jobs.csv", "--batch", "tuesday").exit_code == 2, "the same bytes were paid for"
    assert work("tuesday/jobs.csv", "--batch", "tuesday", "--duplicates", "pay").exit_code == 0
    assert sorted(path.parent.name for path in Path("results").rglob("*.mp4")) == ["jobs", "tuesday"]


def test_callbacks_need_both_options(shop: Place) -> None:
    done = call("run", shop.manifest("spring.csv", 1), "--callback-url", "https://example.com/hook")
    assert done.exit_code == 2
    assert "callbacks need both" in done.stderr


def test_a_hostile_file_name_reaches_no_terminal(shop: Place) -> None:
    done = work(shop.manifest("\x1b[31mspring\u202e.csv", 1))
    assert done.exit_code == 2
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output


def test_out_of_credits(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "other", QuickEngine(), keys=(KEY,), balance=1.0) as server:
        use(server, monkeypatch)
        name = place.manifest("spring.csv", 2)
        done = work(name)
        assert done.exit_code == 6
        assert done.stderr.count("out of credits (402): top up, and run again") == 1, "the same sentence comes once"
        assert done.stderr.splitlines()[-1].startswith("out of credits (402): 1 done, 1 queued, 1 credit, ")
        assert server.server is not None
        server.do(server.server.deposit, 1.0)
        assert work(name).exit_code == 0


def test_the_local_provider_needs_no_key(place: Place) -> None:
    """The server runs inside the command. Its folder is next to the ledger."""
    options = chosen(RunOptions, place.manifest("spring.csv", 2), "--provider", "local", *callback_options())
    settings = build_settings(options)
    account = find_account(settings)
    assert account is None
    sources = build_sources(options.manifests, options)
    enrolled = enrol(settings, sources, Options())
    settings = msgspec.structs.replace(settings, batches=enrolled.batches)
    summary = asyncio.run(work_off_at(settings, account, watch=watch_nothing, engine=QuickEngine()))
    assert (summary.exit_code, summary.counts["done"]) == (0, 2)
    assert Path("batchswap-local/tasks.db").exists()
