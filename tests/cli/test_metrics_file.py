"""`run --metrics-file`: checked before anything is paid, right after each end of a run, and never in its way."""

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchswap.ledger.file.lock import hold
from batchswap.metrics import textfile
from tests.cli.conftest import Place, call, work
from tests.cli.processes import environment, finish, serving, start
from tests.metrics.parsed import WITHOUT_EXTRA, Scraped, parse, scraped
from tests.ports import callback_options
from tests.processes import ROOT
from tests.waits import wait_until

FILE = "batchswap.prom"


def read(folder: Path) -> Scraped:
    return parse((folder / FILE).read_bytes())


def test_the_file_of_a_complete_run(shop: Place) -> None:
    shop.manifest("spring.csv", 3)
    done = work("spring.csv", "--metrics-file", FILE)
    assert (done.exit_code, "metrics" in done.stderr) == (0, False)
    found = read(shop.folder)
    assert (found.get("last_exit_code"), found.get("run_in_progress")) == (0.0, 0.0)
    assert found.get("tasks", batch="spring", state="done") == 3.0
    assert found.get("last_success_timestamp_seconds") == found.get("last_run_end_timestamp_seconds")
    assert found.sum("requests_total", kind="submit", outcome="ok") == 3.0
    assert (found.get("request_seconds_total", kind="submit", outcome="ok") or 0.0) > 0.0
    assert found.lasting == scraped(shop.folder / "batchswap.db").lasting
    ended, written = (found.get(f"{name}_timestamp_seconds") or 0.0 for name in ("last_run_end", "metrics"))
    assert 0.0 < ended <= written
    assert not [*shop.folder.glob(".batchswap-*")]


def test_the_file_can_be_set_in_the_environment(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.manifest("spring.csv", 1)
    monkeypatch.setenv("BATCHSWAP_METRICS_FILE", FILE)
    assert work("spring.csv").exit_code == 0
    assert read(shop.folder).get("last_exit_code") == 0.0
    (shop.folder / FILE).unlink()
    assert work("spring.csv", "--dry-run").exit_code == 0
    assert not (shop.folder / FILE).exists()


def test_ticks_add_to_the_counters_and_leave_exit_code_7_until_all_is_done(shop: Place) -> None:
    shop.manifest("spring.csv", 2)
    codes, found = [], []
    for _ in range(20):
        done = call("run", "spring.csv", "--rate", "none", "--tick", "-q", "--metrics-file", FILE)
        codes.append(done.exit_code)
        found.append(read(shop.folder))
        if done.exit_code != 7:
            break
        time.sleep(0.2)
    assert codes == [*[7] * (len(codes) - 1), 0]
    assert len(codes) > 1
    assert [each.get("last_exit_code") for each in found] == codes
    assert {each.get("run_in_progress") for each in found} == {0.0}
    assert {each.get("last_success_timestamp_seconds") for each in found[:-1]} == {0.0}
    sent = [each.sum("requests_total") for each in found]
    assert sent == sorted(sent)
    assert found[-1].sum("tasks", state="done") == found[-1].sum("requests_total", kind="submit") == 2.0


def test_everyone_may_read_it_whatever_the_umask_is(shop: Place) -> None:
    shop.manifest("spring.csv", 1)
    before = os.umask(0o077)
    try:
        assert work("spring.csv", "--metrics-file", FILE).exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((shop.folder / FILE).stat().st_mode) == 0o644
    assert stat.S_IMODE((shop.folder / "batchswap.db").stat().st_mode) == 0o600


def foreign(folder: Path) -> None:
    (folder / FILE).write_text("# my notes\n")


def directory(folder: Path) -> None:
    (folder / FILE).mkdir()


def queue(folder: Path) -> None:
    os.mkfifo(folder / FILE)


@pytest.mark.parametrize(
    ("prepare", "path", "words"),
    [
        (None, "nosuch/x.prom", "there is no folder"),
        (None, "face.png/x.prom", "there is no folder"),
        (None, "/proc/x.prom", "cannot be written"),
        (None, "batchswap.db", "is the ledger"),
        (None, "spring.csv", "is not a metrics file of batchswap"),
        (foreign, FILE, "is not a metrics file of batchswap"),
        (directory, FILE, "is a directory"),
        (queue, FILE, "is not a regular file"),
        (None, "x" * 300 + ".prom", "File name too long"),
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_an_error_before_anything_is_sent(
    shop: Place, prepare: object, path: str, words: str
) -> None:
    shop.manifest("spring.csv", 1)
    if callable(prepare):
        prepare(shop.folder)
    before = {each.name for each in shop.folder.iterdir()}
    done = work("spring.csv", "--metrics-file", path)
    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr
    assert {each.name for each in shop.folder.iterdir()} == before


def test_an_earlier_or_empty_file_is_replaced_and_a_link_leads_to_its_target(shop: Place) -> None:
    shop.manifest("spring.csv", 1)
    (shop.folder / FILE).touch()
    for _ in range(2):
        assert work("spring.csv", "--metrics-file", FILE).exit_code == 0
    (shop.folder / "link.prom").symlink_to(FILE)
    assert work("spring.csv", "--metrics-file", "link.prom").exit_code == 0
    assert (shop.folder / "link.prom").is_symlink()
    assert read(shop.folder).get("last_exit_code") == 0.0


def test_another_ending_is_a_warning_because_node_exporter_would_not_read_it(shop: Place) -> None:
    shop.manifest("spring.csv", 1)
    done = work("spring.csv", "-q", "--metrics-file", "metrics.txt")
    assert done.exit_code == 0
    assert done.stderr.count("node_exporter reads only files whose names end in .prom") == 1
    assert parse((shop.folder / "metrics.txt").read_bytes()).get("last_exit_code") == 0.0


def test_a_run_that_cannot_start_leaves_its_exit_code(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.manifest("spring.csv", 1)
    assert work("spring.csv", "--metrics-file", FILE).exit_code == 0
    succeeded = read(shop.folder).get("last_success_timestamp_seconds")
    (shop.folder / "wrong.csv").write_text("id,vidoe\n1,a.mp4\n")
    assert work("wrong.csv", "--metrics-file", FILE).exit_code == 2
    found = read(shop.folder)
    assert (found.get("last_exit_code"), found.get("tasks", batch="spring", state="done")) == (2.0, 1.0)
    assert found.get("last_success_timestamp_seconds") == succeeded
    monkeypatch.delenv("CRUN_API_KEY")
    assert work("spring.csv", "--metrics-file", FILE).exit_code == 5
    assert read(shop.folder).get("last_exit_code") == 5.0
    assert work("spring.csv", "--metrics-file", FILE, "--ping-url", "nonsense").exit_code == 2
    assert read(shop.folder).get("last_exit_code") == 2.0


def test_a_first_run_that_cannot_start_leaves_its_exit_code_too(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.manifest("spring.csv", 1)
    monkeypatch.delenv("CRUN_API_KEY")
    assert work("spring.csv", "--metrics-file", FILE).exit_code == 5
    found = read(shop.folder)
    assert (found.get("last_exit_code"), found.get("needs_you")) == (5.0, None)
    assert not (shop.folder / "batchswap.db").exists()


def test_a_skipped_run_leaves_the_file_of_the_other_run_alone_and_a_refused_one_does_not(shop: Place) -> None:
    shop.manifest("spring.csv", 1)
    assert work("spring.csv", "--metrics-file", FILE).exit_code == 0
    before = (shop.folder / FILE).stat()
    with hold(Path("batchswap.db"), wait=False):
        done = work("spring.csv", "--if-running", "skip", "--metrics-file", FILE)
        assert (done.exit_code, "skipped" in done.stderr) == (0, True)
        after = (shop.folder / FILE).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert work("spring.csv", "--metrics-file", FILE).exit_code == 75
    found = read(shop.folder)
    assert (found.get("last_exit_code"), found.get("tasks", batch="spring", state="done")) == (75.0, 1.0)


def test_a_ledger_that_cannot_be_read_leaves_the_exit_code_and_a_warning(shop: Place) -> None:
    shop.manifest("spring.csv", 1)
    assert work("spring.csv", "--metrics-file", FILE).exit_code == 0
    (shop.folder / "batchswap.db").write_bytes(b"no ledger" * 1000)
    done = work("spring.csv", "--metrics-file", FILE)
    assert done.exit_code == 2
    assert done.stderr.count("it has the exit code only") == 1
    found = read(shop.folder)
    assert (found.get("last_exit_code"), found.get("needs_you")) == (2.0, None)


def test_a_file_that_can_no_longer_be_written_is_one_warning(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop.folder / "metrics").mkdir()
    shop.manifest("spring.csv", 1)
    monkeypatch.setattr(textfile, "EVERY", 0.01)
    place = shop.folder / "metrics" / FILE

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(textfile, "replace", fail)
    done = work("spring.csv", "--metrics-file", str(place))
    assert done.exit_code == 0
    assert done.stderr.count("are not up to date: Permission denied") == 1
    assert not [*place.parent.iterdir()]


def test_a_disk_that_does_not_answer_delays_the_end_a_little(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write of a hung network disk never returns, and the last one would wait behind it."""
    shop.manifest("spring.csv", 1)
    monkeypatch.setattr(textfile, "LONGEST", 0.2)
    reading_end, writing_end = os.pipe()
    monkeypatch.setattr(textfile, "replace", lambda *_: os.read(reading_end, 1))
    try:
        done = work("spring.csv", "--metrics-file", FILE)
        assert done.exit_code == 0
        assert done.stderr.count("are not up to date") == 1
    finally:
        os.write(writing_end, b"xx")
        wait_until(lambda: "metrics" not in {each.name for each in threading.enumerate()}, "the end of the writes")


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


def test_without_the_extra_the_error_names_it_and_runs_without_the_option_work(place: Place, base_url: str) -> None:
    env = environment(base_url, place.folder / "home")
    place.manifest("spring.csv", 1)
    (place.folder / "modules").mkdir()
    (place.folder / "modules" / "sitecustomize.py").write_text(WITHOUT_EXTRA)
    env["PYTHONPATH"] = os.pathsep.join(map(str, (place.folder / "modules", ROOT)))
    done = finish(place.folder, env, "run", "spring.csv", "--metrics-file", FILE)
    assert (done.returncode, "pip install 'batchswap[metrics]'" in done.stderr) == (2, True)
    assert not (place.folder / FILE).exists()
    assert finish(place.folder, env, "run", "spring.csv", "--rate", "none", *callback_options()).returncode == 0


def test_during_a_run_after_a_kill_and_after_the_next_run(place: Place, base_url: str) -> None:
    env = environment(base_url, place.folder / "home")
    place.manifest("spring.csv", 30, "slow")
    options = ["run", "spring.csv", "--rate", "none", "--in-flight", "2", "-q", "--metrics-file", FILE]
    process = start(place.folder, env, *options, *callback_options())
    try:
        ledger = place.folder / "batchswap.db"
        wait_until((place.folder / FILE).exists, "the first metrics")
        during = read(place.folder)
        assert during.get("run_in_progress") == 1.0
        assert during.get("last_exit_code") is None
        wait_until(lambda: scraped(ledger).sum("tasks", state="done") >= 2.0, "two results")
        assert scraped(ledger).get("run_in_progress") == 1.0
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = scraped(ledger)
    assert killed.get("run_in_progress") == 0.0
    assert killed.get("last_run_end_timestamp_seconds") is None
    assert (killed.get("last_run_start_timestamp_seconds") or 0.0) > 0.0
    assert read(place.folder).values.keys() >= {("batchswap_run_in_progress", ())}
    done = finish(place.folder, env, *options, *callback_options())
    after = read(place.folder)
    assert after.get("last_exit_code") == done.returncode
    assert after.sum("requests_total") > killed.sum("requests_total")
    for (name, labels), value in killed.values.items():
        if name.endswith("_total"):
            assert after.values[name, labels] >= value


def test_an_interrupted_run_leaves_its_exit_code(place: Place, base_url: str) -> None:
    env = environment(base_url, place.folder / "home")
    place.manifest("spring.csv", 30, "slow")
    options = ["run", "spring.csv", "--rate", "none", "--in-flight", "2", "-q", "--metrics-file", FILE]
    process = start(place.folder, env, *options, *callback_options())
    try:
        wait_until((place.folder / FILE).exists, "the first metrics")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        process.kill()
        process.wait()
    found = read(place.folder)
    assert (found.get("last_exit_code"), found.get("run_in_progress")) == (143.0, 0.0)


def test_a_wrong_command_line_comes_before_the_file(shop: Place) -> None:
    shop.manifest("spring.csv", 1)
    assert call("run", "spring.csv", "--metrics-file", FILE, "--budget", "much").exit_code == 2
    assert not (shop.folder / FILE).exists()
