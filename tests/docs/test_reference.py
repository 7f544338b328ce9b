"""The parts of the documentation that are written by hand agree with the code."""

import json
import re
from collections.abc import Iterator

import click
import pytest

from batchswap.cli.main import root
from batchswap.cli.user_files import OWN_ONLY
from batchswap.errors import Exit
from batchswap.local.faults import Fault
from batchswap.manifest.fields import ALIASES
from batchswap.manifest.outputs import TEMPLATE_FIELDS
from batchswap.manifest.sources import ENDINGS
from batchswap.runner.summary import KINDS
from batchswap.states import AttemptState, State
from tests.docs.pages import DOCS, ROOT, Page
from tests.docs.tables import EXAMPLES, example_of, longest, options_of
from tests.test_layers import LAYERS

REFERENCE, DESIGN, API = (Page(DOCS / f"{name}.md") for name in ("reference", "design", "api"))
VARIABLE = re.compile(r"[\"'`]((?:CRUN|BATCHSWAP|XDG)_[A-Z_]+)[\"'`]")


def section(page: Page, heading: str) -> list[str]:
    """Return the lines from a heading to the next one of its level."""
    start = page.lines.index(heading)
    level = heading.split(maxsplit=1)[0] + " "
    rest = page.lines[start + 1 :]
    end = next((number for number, line in enumerate(rest) if line.startswith(level)), len(rest))
    return rest[:end]


def first_cells(lines: list[str]) -> Iterator[list[str]]:
    """Yield the code words in the first column of each row of a table."""
    for line in lines:
        if line.startswith("| `") or re.match(r"\| \d", line):
            cell = line.split(" | ")[0].lstrip("| ")
            yield re.findall(r"`([^`]+)`", cell) or [cell]


CASES = [(command, option) for command in root.commands for option in options_of(root.commands[command])]


@pytest.mark.parametrize(("name", "option"), CASES, ids=lambda each: each if isinstance(each, str) else longest(each))
def test_each_example_of_an_option_is_accepted(name: str, option: click.Option) -> None:
    command = root.commands[name]
    needed = (each for each in command.params if isinstance(each, click.Argument) and each.required)
    arguments = [each.type.choices[0] if isinstance(each.type, click.Choice) else "anything" for each in needed]
    example = example_of(option, name)
    taken = command.make_context(name, [*example, *arguments]).params.get(str(option.name))
    assert option.name == "verbose" or taken != command.make_context(name, arguments).params[str(option.name)] or taken


def test_options_that_are_off_are_off_in_the_reference() -> None:
    assert "| `-v`, `--verbose` | off |" in "\n".join(REFERENCE.lines)


def test_no_example_is_of_an_option_that_does_not_exist() -> None:
    known = {key for name, option in CASES for key in (longest(option), f"{name} {longest(option)}")}
    assert set(EXAMPLES) <= known


def test_every_exit_code_is_in_the_reference() -> None:
    listed = [int(cells[0]) for cells in first_cells(section(REFERENCE, "## Exit codes"))]
    assert sorted(listed) == sorted(Exit)


def test_every_field_of_manifests_and_its_other_names_are_in_the_reference() -> None:
    rows = [line for line in section(REFERENCE, "### Fields") if line.startswith("| `")]
    found = {}
    for row in rows:
        name, others, *_ = (re.findall(r"`([^`]+)`", cell) for cell in row.strip("|").split("|"))
        found[name[0]] = tuple(others)
    assert {name: found[name] for name in ALIASES} == ALIASES
    assert set(found) == {*ALIASES, "face_0", "x_…"}


def test_every_format_of_manifests_is_in_the_reference() -> None:
    text = "\n".join(section(REFERENCE, "## Manifests"))
    assert {f".{ending}" for ending in re.findall(r"`\.(\w+)`", text)} == {*ENDINGS, ".xlsx"}


def test_every_field_of_name_templates_is_in_the_reference() -> None:
    row = next(line for line in REFERENCE.lines if line.startswith("| `TEMPLATE`"))
    assert set(re.findall(r"`\{(\w+)\}`", row)) == set(TEMPLATE_FIELDS)


def test_every_environment_variable_is_in_the_reference() -> None:
    listed = {name for cells in first_cells(section(REFERENCE, "## Environment variables")) for name in cells}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "batchswap").rglob("*.py"))
    named = set(VARIABLE.findall(code))
    assert named <= listed
    own = {name for name in listed if name.startswith(("CRUN_", "BATCHSWAP_", "XDG_"))}
    assert own <= named | {"BATCHSWAP_…"}


def test_options_that_the_working_directory_must_not_set_are_in_the_reference() -> None:
    text = "\n".join(section(REFERENCE, "## Configuration"))
    known = {longest(option).lstrip("-") for _, option in CASES}
    assert all(f"`{name}`" in text for name in OWN_ONLY if name in known)


def test_every_fault_is_in_the_reference() -> None:
    listed = {name for cells in first_cells(section(REFERENCE, "### serve")) for name in cells}
    assert set(Fault) <= listed


def test_the_fields_of_a_run_are_those_of_its_document() -> None:
    lines = section(REFERENCE, "### run --json")
    start = lines.index("{")
    document = json.loads("\n".join(lines[start : lines.index("}") + 1]))
    listed = {name for cells in first_cells(lines) for name in cells}
    assert listed == {*document, "unpriced_attempts", "next_tick_at", "warnings"}
    assert set(document["requests"]) == set(KINDS)
    assert set(document["counts"]) == set(State)


def test_every_state_is_explained_in_the_design() -> None:
    explained = {cells[0] for cells in first_cells(section(DESIGN, "## States of a task")) if cells[0] in set(State)}
    assert explained == set(State)
    text = "\n".join(section(DESIGN, "## States of an attempt"))
    assert all(f"`{state}`" in text for state in AttemptState)


def test_every_layer_is_explained_in_the_design() -> None:
    explained = {name for cells in first_cells(section(DESIGN, "## Layers")) for name in cells}
    assert {*LAYERS.split()} - {"__init__", "local.__init__", "ratelimit.rule"} == explained


def test_every_invariant_that_code_or_tests_cite_is_in_the_design() -> None:
    numbers = [int(found[1]) for line in section(DESIGN, "## Invariants") if (found := re.match(r"(\d+)\. ", line))]
    assert numbers == [*range(1, len(numbers) + 1)]
    cited = set()
    for path in [*(ROOT / "batchswap").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for found in re.findall(r"[Ii]nvariants? (\d+(?:(?:,| and)? \d+)*)", path.read_text(encoding="utf-8")):
            cited |= {int(number) for number in re.findall(r"\d+", found)}
    assert cited
    assert cited <= set(numbers)


def test_every_code_that_is_judged_is_in_the_page_of_the_api() -> None:
    listed = {int(number) for line in section(API, "## Codes") if line.startswith("| ") for number in
              re.findall(r"\b[2-5]\d\d\b", line.split(" | ")[0])}  # fmt: skip
    assert {200, 401, 402, 404, 422, 429, 455, 500, 501, 505} == listed
