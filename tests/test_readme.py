"""The README names every command, every page and every make target; the reference has the rest (tests/docs)."""

import re
from pathlib import Path

import click
import pytest

from batchswap.cli.main import root
from batchswap.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options() -> set[str]:
    found = set()
    for command in [root, *root.commands.values()]:
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                found |= {name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")}
    return found


@pytest.mark.parametrize("command", sorted(root.commands))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"| `{command}` | " in README


def test_every_option_of_the_readme_exists() -> None:
    named = set(re.findall(r"`(?:batchswap [^`]*)?(--[a-z-]+)", README))
    assert named
    assert named <= options() | {"--help"}


def test_every_page_is_linked() -> None:
    pages = [*(ROOT / "batchswap" / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md")]
    assert len(pages) > 8
    assert all(f"({page.relative_to(ROOT)}" in README for page in pages)


def test_the_vendor_is_named() -> None:
    assert "CRUN" in README
    assert f"`{Settings().base_url.removeprefix('https://')}`" in README


def test_every_make_target_is_in_the_readme_and_the_other_way_round() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    line = next(line for line in README.splitlines() if line.startswith("`make help"))
    assert set(line.split("`")[1].split()[1:]) == targets


def test_it_is_short() -> None:
    assert README.count("\n") <= 150
    assert max(map(len, README.splitlines())) <= 120
