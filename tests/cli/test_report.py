"""`batchswap report`: one page about a night, in a place where nothing else is replaced."""

import builtins
import importlib.util
import os
import re
import stat
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from batchswap.ledger.deliveries import pictures_folder
from batchswap.ledger.file.lock import hold
from batchswap.report import page
from batchswap.report.page import strip_files
from tests.browser.nights import Night
from tests.cli.conftest import Place, call, work
from tests.cli.test_words import change

MARK = '<meta name="generator" content="batchswap '


@pytest.fixture
def night(place: Place) -> Path:
    """Return the folder of a night with 60 tasks, which is the working directory."""
    Night(place.folder, 60, runs=2).write()
    return place.folder


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_report_of_a_real_run(shop: Place) -> None:
    shop.manifest("spring.csv", 2)
    work("spring.csv")
    done = call("report")
    assert done.exit_code == 0, done.output
    assert done.stderr == "report.html: Everything is done\n"
    text = text_of(shop.folder / "report.html")
    assert "ended with exit code 0 (all done): 2 done" in text
    assert '"file"' in text or "results/spring/r0.mp4" in text


def test_the_file_is_private_and_complete(night: Path) -> None:
    assert call("report", "-o", "night.html").exit_code == 0
    path = night / "night.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text_of(path).rstrip().endswith("</html>")
    assert not [each for each in night.iterdir() if each.suffix in (".part", ".old")]


def test_the_sections_are_in_their_order(night: Path) -> None:
    call("report")
    text = text_of(night / "report.html")
    ids = re.findall(r'<(?:section|header)[^>]* id="([a-z]+)"', text)
    assert ids == [
        "verdict",
        "needs",
        "strips",
        "problems",
        "money",
        "timeline",
        "tasks",
        "compared",
        "rights",
        "colophon",
    ]


def test_the_counts_are_those_of_the_ledger(night: Path) -> None:
    done = call("report")
    needs = int(re.findall(r"report\.html: (\d+) tasks need you", done.stderr)[0])
    text = text_of(night / "report.html")
    assert text.count('class="need"') == needs
    assert f"Needs you: {needs}" in text
    assert "batchswap resolve spring/clip-00009 --task-id ID" in text
    assert "may be deleted after" in text


def test_an_unknown_cost_is_never_zero(night: Path) -> None:
    call("report")
    row = re.search(r'<table[^>]*id="money-batch">.*?</table>', text_of(night / "report.html"), re.DOTALL)
    assert row is not None
    assert re.search(r'data-label="unknown">\d+ attempts?<small>about \d', row[0])


def test_a_folder_has_the_page_its_data_and_its_pictures(night: Path) -> None:
    assert call("report", "-o", "night/", "--pictures", "all").exit_code == 0
    folder = night / "night"
    assert sorted(each.name for each in folder.iterdir()) == ["data", "index.html", "strips"]
    assert text_of(folder / "data" / "0001.js").startswith("batchswap.piece(0, {")
    pictures = [*(folder / "strips").rglob("*.webp")]
    assert len(pictures) == len([*pictures_folder(night / "batchswap.db").rglob("*.webp")])
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.rglob("*") if each.is_file()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert call("report", "-o", "night", "--pictures", "none").exit_code == 0  # an earlier report is replaced
    assert not (folder / "strips").exists()


def test_a_picture_that_cannot_be_read_is_left_out(night: Path) -> None:
    pictures = sorted(pictures_folder(night / "batchswap.db").rglob("*.webp"))
    pictures[0].unlink()
    pictures[0].mkdir()
    pictures[1].unlink()
    assert call("report", "-o", "night/", "--pictures", "all").exit_code == 0
    copied = [each.name for each in (night / "night" / "strips").rglob("*.webp")]
    assert sorted(copied) == sorted(each.name for each in pictures[2:])


def test_a_run_in_progress_shows_its_time_so_far(night: Path) -> None:
    change("update runs set pid = ?, ended_at = null, exit_code = null, summary = null where id = 2", os.getpid())
    with hold(Path("batchswap.db"), wait=False):
        assert call("report").exit_code == 0
    assert re.search(r"<dt>time</dt><dd>[^<]+ <small>so far</small>", text_of(night / "report.html"))
    assert call("report").exit_code == 0
    assert "<dt>time</dt><dd>unknown</dd>" in text_of(night / "report.html")


def test_large_sums_are_written_in_full(night: Path) -> None:
    change("update runs set summary = json_set(summary, '$.credits.balance', 1234567.25)")
    change("update money set spent = 2345678.5, held = 3456789.5")
    assert call("report").exit_code == 0
    text = text_of(night / "report.html")
    for amount in ("1,234,567.25 credits at the end", "2,345,678.5 credits spent", "3,456,789.5 more reserved"):
        assert amount in text


def test_many_tasks_become_a_folder(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LARGEST_FILE", 59)
    done = call("report", "-o", "night.html")
    assert done.stderr.startswith("night/index.html: ")
    assert done.stderr.endswith(" (a folder, because 60 tasks are too many for one file)\n")
    assert (night / "night" / "index.html").is_file()
    assert not (night / "night.html").exists()


@pytest.mark.parametrize("pictures", ["all", "trouble", "none"])
def test_pictures_of_one_file(night: Path, pictures: str) -> None:
    call("report", "--pictures", pictures)
    embedded = text_of(night / "report.html").count("UklGR")
    everything = len([*pictures_folder(night / "batchswap.db").rglob("*.webp")])
    assert embedded == (0 if pictures == "none" else everything)


def test_pictures_that_do_not_fit_are_counted(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need a look come first."""
    monkeypatch.setitem(strip_files.BUDGETS, "trouble", 60_000)
    call("report")
    text = text_of(night / "report.html")
    assert 1 <= text.count("UklGR") < 10
    assert re.search(r"\d+ pictures did not fit into this file", text)
    first = re.search(r'id="strips-0">\{"(\d+)"', text)
    assert first is not None
    assert f'data-task="{first[1]}"' in text


OTHERS = {
    "notes.html": "notes.html: exists and is not a report of batchswap; name another place",
    "notes.txt": "notes.txt: is neither a folder nor a file with the ending .html; name another place",
    "batchswap.db": "batchswap.db: belongs to the ledger; name another place",
    "batchswap.db-wal": "batchswap.db-wal: belongs to the ledger; name another place",
    "batchswap.db-pictures": "batchswap.db-pictures: belongs to the ledger; name another place",
    "batchswap.db-pictures/x.html": "batchswap.db-pictures/x.html: belongs to the ledger; name another place",
    "clips": "clips: is a folder with other files; name an empty or a new one with -o",
    "gone/x.html": "gone/x.html: there is no folder {here}/gone; create it, or name another place",
}


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_else_is_replaced(night: Path, name: str) -> None:
    (night / "clips").mkdir()
    for each in ("notes.html", "notes.txt", "clips/a.mp4"):
        (night / each).write_text("<p>mine</p>")
    before = {each: each.read_bytes() for each in night.rglob("*") if each.is_file()}
    done = call("report", "-o", name)
    assert done.exit_code == 2
    assert done.stderr == f"batchswap: {OTHERS[name].format(here=night)}\n"
    assert {each: each.read_bytes() for each in before} == before


def test_a_file_of_the_user_in_the_folder_of_a_report_is_kept(night: Path) -> None:
    call("report", "-o", "night")
    (night / "night" / "notes.txt").write_text("mine")
    done = call("report", "-o", "night")
    assert done.exit_code == 2
    assert "night: has files that are not part of the report (notes.txt); move them away" in done.stderr
    assert (night / "night" / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written(night: Path) -> None:
    done = call("report", "-o", "/proc/report.html")
    assert done.exit_code == 2
    assert re.fullmatch(r"batchswap: /proc/report.html: .*cannot be written \(.*\); name another place\n", done.stderr)


def test_a_full_disk_leaves_the_earlier_report(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("report")
    before = text_of(night / "report.html")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = call("report")
    assert done.exit_code == 2
    assert done.stderr.startswith("batchswap: report.html: the report cannot be written (No space left on device)")
    assert text_of(night / "report.html") == before
    assert not [each for each in night.iterdir() if each.suffix == ".part"]


def test_without_a_ledger(place: Place) -> None:
    done = call("report")
    assert done.exit_code == 2
    assert "batchswap.db: there is no ledger" in done.stderr
    assert not (place.folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sprin"], 'there is no batch "sprin" in batchswap.db; did you mean "spring"?'),
        (["--run", "7"], "there is no run 7 in batchswap.db: the last one is run 2; `--run all` covers all runs"),
        (["--run", "first"], "'first' is not a run; write its number, last or all"),
    ],
)
def test_an_unknown_batch_or_run(night: Path, words: list[str], sentence: str) -> None:
    done = call("report", *words)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not (night / "report.html").exists()


def test_a_ledger_without_a_run(shop: Place) -> None:
    shop.manifest("spring.csv", 2)
    work("spring.csv", "--limit", "0")
    assert call("report", "--run", "all").exit_code == 0
    assert call("report", "spring", "--run", "1").exit_code == 0


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_without_the_extra(night: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda each, *more: None if each == name else found(each, *more))
    done = call("report")
    assert done.exit_code == 2
    assert done.stderr == f"batchswap: this needs {name}, which is not installed: pip install 'batchswap[report]'\n"


def test_open(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def note(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", note)
    assert call("report", "--open").exit_code == 0
    assert opened == [(night / "report.html").as_uri()]


def test_open_without_a_browser(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    done = call("report", "--open")
    assert done.exit_code == 2
    assert "report.html is written, but no browser was found to open it" in done.stderr
    assert MARK in text_of(night / "report.html")


def test_other_commands_do_not_load_the_libraries(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = builtins.__import__

    def refuse(name: str, *more: Any, **options: Any) -> Any:
        assert name.partition(".")[0] not in ("jinja2", "matplotlib"), name
        return loaded(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert call("status").exit_code == 0
    assert call("report", "--help").exit_code == 0


def test_a_run_writes_its_report_at_the_end(shop: Place) -> None:
    done = work(shop.manifest("spring.csv", 2), "--report", "night.html")
    assert done.exit_code == 0, done.stderr
    assert "report: night.html: Everything is done" in done.stderr
    assert MARK in text_of(shop.folder / "night.html")


def test_a_run_with_an_impossible_place_for_its_report_sends_nothing(shop: Place) -> None:
    Path("mine.html").write_text("<h1>mine</h1>")
    refused = work(shop.manifest("spring.csv", 1), "--report", "mine.html")
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert Path("mine.html").read_text() == "<h1>mine</h1>"


def test_a_report_that_fails_at_the_end_is_a_warning(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "write", fail)
    done = work(shop.manifest("spring.csv", 1), "--report", "night.html")
    assert done.exit_code == 0
    assert "the report was not written: [Errno 28] No space left on device" in done.stderr
