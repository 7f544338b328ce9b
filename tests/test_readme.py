"""The README names every command, every option, every exit code and every make target."""

import re
from pathlib import Path

import click
import pytest

from batchswap.cli.main import root
from batchswap.errors import Exit
from batchswap.states import State

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
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert re.search(rf"`{command}\b", README)


@pytest.mark.parametrize("option", sorted(options()))
def test_every_option_stands_in_the_readme(option: str) -> None:
    assert re.search(rf"{option}(?![\w-])", README)


def test_every_option_of_the_readme_exists() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", README))
    assert named <= options() | {"--help"}


def test_every_exit_code_stands_in_the_readme() -> None:
    table = README[README.index("| exit code |") :]
    for code in Exit:
        assert re.search(rf"^\| (\d+, )?{int(code)}\b", table, re.MULTILINE), code


def test_every_state_stands_in_the_readme() -> None:
    assert all(state in README for state in State)


def test_every_make_target_stands_in_the_readme_and_the_other_way_round() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    line = next(line for line in README.splitlines() if line.startswith("`make help"))
    assert set(line.split("`")[1].split()[1:]) == targets


def test_it_is_short() -> None:
    assert README.count("\n") <= 200
