"""The man pages show what `--help` shows, and `man` has nothing to complain about."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from batchswap.cli.main import root
from batchswap.errors import Exit
from tests.packages.man_pages import pages

PAGES = pages("2026-01-01")


def shown(text: str) -> str:
    """Return a page without its markup."""
    without = re.sub(r"\\f[BPR]", "", text)
    return without.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("man")
    for name, text in PAGES.items():
        (found / name).write_text(text, encoding="utf-8")
    return found


def test_each_command_has_a_page() -> None:
    assert {*PAGES} == {"batchswap.1", *(f"batchswap-{name}.1" for name in root.commands)}


@pytest.mark.parametrize("name", sorted(root.commands))
def test_a_page_has_the_text_and_every_option(name: str) -> None:
    command, page = root.commands[name], shown(PAGES[f"batchswap-{name}.1"])
    words = " ".join(page.split())
    assert f".SH NAME batchswap-{name} - {command.short_help}" in words
    assert " ".join((command.help or "").split("\n\n")[0].split()) in words
    ctx = click.Context(command)
    for option in command.params:
        if isinstance(option, click.Option) and (row := option.get_help_record(ctx)):
            assert f"\n.TP\n{row[0]}\n" in page, row
            assert " ".join(row[1].split()) in words


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_character_is_left_for_the_terminal_alone(name: str) -> None:
    assert "\b" not in PAGES[name]
    assert not re.search(r"^\.(?!TH|SH|SS|B|TP|PP|RS|RE|nf|fi|nh|ad)", PAGES[name], re.MULTILINE)


def test_a_table_keeps_its_lines() -> None:
    assert "\n.nf\n\\-\\-media         Open every file, " in PAGES["batchswap-check.1"]
    assert "\n.nf\nid,video,face\n" in PAGES["batchswap.1"]


def test_the_first_page_lists_commands_and_exit_codes() -> None:
    page = PAGES["batchswap.1"]
    assert all(f"\\fBbatchswap\\-{name}\\fP(1)" in page for name in root.commands)
    codes = page.partition(".SH EXIT STATUS")[2].partition(".SH")[0]
    assert {int(code) for code in re.findall(r"\\fB(\d+)\\fP", codes)} == {*Exit}


@pytest.mark.parametrize(
    "command",
    [["mandoc", "-T", "lint", "-W", "style"], ["groff", "-man", "-ww", "-z", "-k", "-T", "utf8"]],
    ids=["mandoc", "groff"],
)
def test_programs_that_show_pages_have_no_complaint(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, *folder.glob("*.1")], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr) == ""
