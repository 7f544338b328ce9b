"""The documentation is true: its examples run, its tables are those of the code, and its links lead somewhere.

When a message or an option has changed: `python -m tests.docs --write`, or `make docs`.
"""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest

from batchswap import __version__
from batchswap.cli.main import root
from tests.docs.pages import DOCS, PAGES, ROOT, Page
from tests.docs.replay import replay, scheduled
from tests.docs.tables import options_of, outdated

CITED = re.compile(r"[\w./-]*\w\.md\b")
LINES_OF_CODE = ("*.py", "Makefile", "pyproject.toml", "*.yml", "*.yaml", "*.csv", "*.md", "*.pyi")
OTHER_PROGRAMS = {
    "python3", "~/.venvs/batchswap/bin/pip", "export", "mkdir", "echo", "rsync", "ssh", "chmod", "make", "cd", "git",
    "pip", "c2patool", "pipx", "podman",
}  # fmt: skip
"""What blocks of shell commands may begin a line with, besides batchswap."""


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


WITH_EXAMPLES = [path for path in PAGES if any(block.kind == "console" for block in Page(path).blocks)]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=names)
def test_each_example_prints_what_the_page_shows(path: Path) -> None:
    _, wrong, files = replay(Page(path))
    assert not wrong, "\n\n".join([*wrong, "`python -m tests.docs --write` brings the page up to date"])
    listed = [*documented_files(), *(name for block in Page(path).blocks for name in block.info[1:])]
    unknown = {each for each in files if not any(fnmatch(each, pattern) for pattern in listed)}
    own = {each for each in unknown if not each.startswith(("clips/", "faces/", "~/.cache/"))}
    assert own <= {"spring-monday.db", "run.log", "night.log"} | {each for each in own if each.startswith("casting/")}


def documented_files() -> Iterator[str]:
    """Yield the patterns of file names in the first column of the table of files."""
    lines = Page(DOCS / "reference.md").lines
    for line in lines[lines.index("## Files") :]:
        if line.startswith("| `"):
            for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
                yield re.sub(r"\b[A-Z]+\b", "*", name)


def test_the_guide_and_the_reference_have_examples() -> None:
    assert {DOCS / "guide.md", DOCS / "reference.md"} <= {*WITH_EXAMPLES}


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_each_table_that_comes_from_the_code_is_up_to_date(path: Path) -> None:
    assert not outdated(Page(path)), "`python -m tests.docs --write` brings the page up to date"


def test_each_command_has_its_table_in_the_reference() -> None:
    tables = set(re.findall(r"<!-- table: options (\S+) -->", (DOCS / "reference.md").read_text(encoding="utf-8")))
    assert tables == set(root.commands)


def commands_of(page: Page) -> Iterator[list[str]]:
    """Yield the words of each call of batchswap in blocks that are not run, and of schedulers."""
    for block in page.blocks:
        lines = (
            block.lines if block.kind in ("sh", "bash") else scheduled(block) if block.kind in ("cron", "ini") else ()
        )
        for line in lines:
            words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
            for start in (number for number, word in enumerate(words) if word == "batchswap"):
                split = shlex.split(line[line.index("batchswap") :], comments=True)
                ends = [n for n, word in enumerate(split) if word in ("|", ">", "&&", "2>", "||", ";")]
                yield split[1 : ends[0] if ends else None] if start == words.index("batchswap") else []


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_each_command_that_is_not_run_could_be(path: Path) -> None:
    """Commands in blocks without outputs have existing options, with values that they accept."""
    for words in commands_of(Page(path)):
        if words and words[0] in root.commands:
            root.commands[words[0]].make_context(words[0], words[1:])
        else:
            assert not words or words in (["--version"], ["--help"]) or words[0].startswith(")"), words


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_blocks_of_shell_commands_call_known_programs_only(path: Path) -> None:
    for block in Page(path).blocks:
        if block.kind == "sh":
            starts = {line.split()[0] for line in block.lines if line and not line.startswith((" ", "#"))}
            assert starts <= OTHER_PROGRAMS | {"batchswap", "generate-rows"}, (path, starts)


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_each_command_in_the_text_exists(path: Path) -> None:
    """`batchswap COMMAND --option` between backquotes names a command that exists, with an option that it has."""
    for span in re.findall(r"`(batchswap [^`]+)`", "\n".join(Page(path).prose).replace("\n", " ")):
        words = span.split()
        if words[1].startswith("-") or words[1] == "COMMAND":
            continue
        command = root.commands[words[1]]
        own = {name for option in options_of(command) for name in (*option.opts, *option.secondary_opts)}
        assert {word for word in words if word.startswith("-") and word != "-"} <= own | {"--help"}, span


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_each_option_in_the_text_exists(path: Path) -> None:
    known = {
        name
        for command in (root, *root.commands.values())
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    for span in re.findall(r"`(--[a-z][a-z-]*)[^`]*`", "\n".join(Page(path).prose)):
        assert span in known | {"--help", "--write", "--now"}, span


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_each_link_inside_the_project_leads_somewhere(path: Path) -> None:
    for target in Page(path).links:
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), f"{path}: {target}"
        if anchor:
            assert anchor in Page(place).anchors, f"{path}: {target}"


def tracked(*patterns: str) -> list[Path]:
    """Return the project's files: those that git knows, or all where there is no repository."""
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    found = [ROOT / line for line in done.stdout.splitlines()]
    if done.returncode:
        found = [path for pattern in patterns for top in ("batchswap", "tests") for path in (ROOT / top).rglob(pattern)]
    return [path for path in found if path.exists()]


def test_each_page_that_code_or_documentation_names_exists() -> None:
    """A name without a folder may be in the folder of the file that names it, in the project's, or in docs."""
    missing = []
    for path in tracked(*LINES_OF_CODE):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for name in CITED.findall(line):
                places = (path.parent, ROOT, ROOT / "batchswap", DOCS, ROOT / ".github")
                if not any((place / name).is_file() for place in places):
                    missing.append(f"{path.relative_to(ROOT)}:{number}: {name}")
    assert not missing


def test_the_folder_of_the_pages_has_nothing_else() -> None:
    """Every file below docs is in the wheel (tests/packages), and `guide` shows it as a topic."""
    assert all(path.suffix == ".md" for path in DOCS.iterdir())


def test_each_heading_that_code_names_exists() -> None:
    """`reference.md, "Manifests"` names a heading of that page."""
    cited = re.compile(r"(\w[\w-]*\.md), [\"'`]([A-Z][^\"'`]+)[\"'`]")
    found = 0
    for path in tracked("*.py"):
        for name, heading in cited.findall(path.read_text(encoding="utf-8")):
            if (DOCS / name).exists():
                found += 1
                assert any(line.lstrip("# ") == heading for line in Page(DOCS / name).prose), (path, name, heading)
    assert found


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_each_file_of_the_project_in_the_text_exists(path: Path) -> None:
    for span in re.findall(r"`((?:batchswap|tests|manifests)/[\w./-]*)`", "\n".join(Page(path).prose)):
        assert (ROOT / span).exists(), span


def test_each_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (*PAGES, ROOT / ".github" / "workflows" / "ci.yml"):
        named = set(
            re.findall(r"(?:^|`|run: )make ([a-z]+)\b(?! sure)", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert named <= targets, path


def test_the_version_is_in_one_place_and_has_its_changes() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in configured["project"]["dynamic"]
    assert configured["tool"]["hatch"]["version"] == {"path": "batchswap/__init__.py"}
    changes = (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^\]]*)\]", changes, re.MULTILINE)[0] == __version__
